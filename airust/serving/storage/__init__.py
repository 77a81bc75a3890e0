"""What outlives the process: sessions and keys, in SQLite or PostgreSQL through SQLAlchemy."""

"""Widgets for notebooks, on anywidget: chat with a model, watch a training, look into a model.

    import airust
    airust.ChatPanel("runs/tiny")
    airust.TrainingMonitor(run)
    airust.AttentionView("runs/tiny", "What is the capital of France?")

They need no server and no extension beyond anywidget's own, and work in JupyterLab 4,
Notebook 7 and VS Code. ``chat`` tunnels the front end of ``airust/ui`` into the service, in this
process; ``training`` and ``attention`` are small widgets of their own, each with a still picture.
"""

"""Widgets for notebooks, on anywidget: chat with a model, watch a training, look into a model.

    import airust
    airust.ChatPanel("runs/tiny")
    airust.TrainingMonitor(run)
    airust.AttentionView("runs/tiny", "What is the capital of France?")

They need no server and no extension beyond anywidget's own, and so are not bound to JupyterLab.
``chat`` tunnels the front end of ``airust/ui`` into the service, in this
process; ``training`` and ``attention`` are small widgets of their own, each with a still picture.
"""

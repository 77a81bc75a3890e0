"""What the notebooks of the learning path need: checked exercises, progress, figures.

One module holds the checks of one notebook: ``nb04`` those of ``04-...ipynb``, ``r1`` those of
``R1-...ipynb``. Its docstring begins with the notebook's title; each exercise is a function
``ex1``, ``ex2``, ... that takes the learner's answer and raises ``Wrong`` with a hint.
"""

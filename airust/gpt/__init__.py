"""A GPT whose every part is one readable file.

Read in this order: config, tokenizer, embedding, norm, attention, feed_forward, block, output,
model; then data, optimizer, train, generate, evaluate, checkpoint.
"""

from airust.gpt.openmp import spin_briefly

spin_briefly()  # before any module here imports torch

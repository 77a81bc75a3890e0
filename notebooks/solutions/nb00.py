"""Solutions of 00-start-here. A test puts each behind its stub and runs it there."""

# %% nb00.ex1
airust.check("nb00.ex1", "runs/tiny")

# %% nb00.ex2
airust.check("nb00.ex2", sum(count_parameters(PRESETS["small"].model).values()))


# %% nb00.ex3
def chat_form(question):
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


airust.check("nb00.ex3", chat_form("What is rust?"))


# %% nb00.ex4
def probability(logprobs):
    return math.exp(sum(logprobs))


airust.check("nb00.ex4", probability)

# %% nb00.ex5
held = [q.text for q in fact_questions(corpus) if q.part == "held_out"]
airust.check("nb00.ex5", held[0])

# %% nb00.ex6
mine = GPTConfig(1024, hidden_size=128, layers=4, heads=2, kv_heads=2, head_dim=64, ffn_size=384)
airust.check("nb00.ex6", mine)

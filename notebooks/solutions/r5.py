"""Solutions of R5-repair-compile-errors. A test puts each behind its stub and runs it there."""

# %% r5.ex1
airust.check("r5.ex1", {"code", "message", "file"})

# %% r5.ex2
answer = """ChangeLog:1@a.rs
FixDescription: slices are indexed by usize
OriginalCode@2-2:
[2]     values[index]
FixedCode@2-2:
[2]     values[index as usize]
"""
airust.check("r5.ex2", answer)


# %% r5.ex3
def group_after(before, target, after):
    return after - (before - {target})


airust.check("r5.ex3", group_after)


# %% r5.ex4
def interval(right, tried):
    return wilson(right, tried)


airust.check("r5.ex4", interval)


# %% r5.ex5
def best(errors_left):
    applied = [(count, place) for place, count in enumerate(errors_left) if count is not None]
    return min(applied)[1] if applied else -1


airust.check("r5.ex5", best)


# %% r5.ex6
def repair_mut(prompt):
    import re

    name = re.search(r"cannot borrow `(\w+)` as mutable", prompt)[1]
    line, code = re.search(rf"^\[(\d+)\] (\s*let {name}\b.*)$", prompt, flags=re.MULTILINE).groups()
    fixed = code.replace(f"let {name}", f"let mut {name}", 1)
    return (
        f"ChangeLog:1@cell.rs\nFixDescription: may change\nOriginalCode@{line}-{line}:\n"
        f"[{line}] {code}\nFixedCode@{line}-{line}:\n[{line}] {fixed}\n"
    )


airust.check("r5.ex6", repair_mut)

"""A tiny grammar of texts: lists of alternatives that refer to each other.

    # comment            a line that starts with it is skipped
    @name                starts a list; every following line is one alternative; bars split a line further
    @name = a | b | c    a list on one line
    @name:0.5            the same, with a weight: how often `sample` draws from it, relative to other top lists

Inside an alternative: {name} is one draw from a list, [a|b|] an inline choice (may nest, may be empty), \\n a new line, and a
backslash before any of []{}|\\ takes it literally. Everything is drawn from one seeded generator, so a seed is a corpus.
"""
import random
import re


class Grammar:
    def __init__(self, *paths):
        self.lists, self.weight = {}, {}
        for path in paths:
            name = None
            for number, line in enumerate(open(path, encoding="utf-8"), 1):
                line = line.rstrip("\n")
                if not line.strip() or line.startswith("#"):
                    continue
                if line.startswith("@"):
                    head, equals, body = line[1:].partition(" = ")
                    name, _, weight = head.strip().partition(":w=")
                    if name in self.lists:
                        raise ValueError(f"{path}:{number}: list {name} is there already")
                    self.lists[name] = [x.strip() for x in split_bars(body)] if equals else []
                    self.weight[name] = float(weight or 1)
                elif name is None:
                    raise ValueError(f"{path}:{number}: text before the first list")
                else:
                    self.lists[name].append(line.strip())
        self.parsed = {n: [parse(x) for x in alternatives] for n, alternatives in self.lists.items()}

    def draw(self, name, rng, depth=0):
        if depth > 40:
            raise ValueError(f"list {name} refers to itself without end")
        return self.expand(rng.choice(self.parsed[name]), rng, depth)

    def expand(self, node, rng, depth=0):
        out = []
        for kind, value in node:
            if kind == "text":
                out.append(value)
            elif kind == "ref":
                out.append(self.draw(value, rng, depth + 1))
            else:
                out.append(self.expand(rng.choice(value), rng, depth + 1))
        return "".join(out)

    def sample(self, prefix, n, seed):
        """n distinct (list name, text) pairs from the lists whose name starts with prefix, by their weights."""
        rng = random.Random(seed)
        names = [x for x in self.lists if x.startswith(prefix)]
        weights = [self.weight[x] for x in names]
        seen, out, misses = set(), [], 0
        while len(out) < n and misses < 50 * n + 1000:
            name = rng.choices(names, weights)[0]
            text = tidy(self.draw(name, rng))
            if text in seen:
                misses += 1
                continue
            seen.add(text)
            out.append((name, text))
        return out


def tidy(text):
    text = re.sub(r" +([.,;:!?])(?=\s|$)", r"\1", re.sub(r"[ \t]{2,}", " ", text))
    return "\n".join(line.strip() for line in text.split("\n")).strip()


def split_bars(text):
    out, depth, current, i = [], 0, "", 0
    while i < len(text):
        c = text[i]
        if c == "\\":
            current += text[i:i + 2]
            i += 2
            continue
        depth += (c == "[") - (c == "]")
        if c == "|" and depth == 0:
            out.append(current)
            current = ""
        else:
            current += c
        i += 1
    return out + [current]


def parse(text):
    if len(split_bars(text)) > 1:
        return [("choice", [parse(x) for x in split_bars(text)])]
    node, i, plain = [], 0, ""
    while i < len(text):
        c = text[i]
        if c == "\\":
            plain += "\n" if text[i + 1:i + 2] == "n" else text[i + 1:i + 2]
            i += 2
        elif c == "{":
            end = text.index("}", i)
            node += [("text", plain), ("ref", text[i + 1:end])]
            plain, i = "", end + 1
        elif c == "[":
            depth, end = 0, i
            while True:
                if text[end] == "\\":
                    end += 2
                    continue
                depth += (text[end] == "[") - (text[end] == "]")
                if depth == 0:
                    break
                end += 1
            node += [("text", plain), ("choice", [parse(x) for x in split_bars(text[i + 1:end])])]
            plain, i = "", end + 1
        else:
            plain += c
            i += 1
    return node + [("text", plain)]

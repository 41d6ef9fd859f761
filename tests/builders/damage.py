"""Damage to files as disks, copies and people do it, seeded."""

from collections.abc import Iterator

import numpy as np

BLOCKS = (16, 512, 4096)


def mutants(content: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield a description and a damaged copy, `count` times; each differs from the content."""
    rng = np.random.default_rng(seed)
    kinds = (flip_bit, flip_byte, cut, zero_block, swap_blocks, repeat_end)
    made = 0
    while made < count:
        kind = kinds[made % len(kinds)]
        damaged = kind(content, rng)
        if damaged != content:
            made += 1
            yield f"{kind.__name__} {made}", damaged


def flip_bit(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content)))
    return content[:at] + bytes([content[at] ^ (1 << int(rng.integers(8)))]) + content[at + 1 :]


def flip_byte(content: bytes, rng: np.random.Generator) -> bytes:
    """Change one byte near either end, where formats keep what they are found by."""
    near = int(rng.integers(min(200, len(content))))
    at = near if rng.integers(2) else len(content) - 1 - near
    return content[:at] + bytes([content[at] ^ int(rng.integers(1, 256))]) + content[at + 1 :]


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    return content[: int(rng.integers(len(content)))]


def _block(content: bytes, rng: np.random.Generator) -> int:
    fitting = [size for size in BLOCKS if 2 * size <= len(content)]
    return int(rng.choice(fitting))


def zero_block(content: bytes, rng: np.random.Generator) -> bytes:
    size = _block(content, rng)
    at = int(rng.integers(-(-len(content) // size))) * size
    lost = min(size, len(content) - at)
    return content[:at] + bytes(lost) + content[at + lost :]


def swap_blocks(content: bytes, rng: np.random.Generator) -> bytes:
    size = _block(content, rng)
    first, second = sorted(int(n) * size for n in rng.integers(len(content) // size, size=2))
    if first == second:
        return content
    a, b = content[first : first + size], content[second : second + size]
    return content[:first] + b + content[first + size : second] + a + content[second + size :]


def repeat_end(content: bytes, rng: np.random.Generator) -> bytes:
    """Append the last bytes again, as a copy does that was resumed too early."""
    return content + content[-int(rng.integers(1, min(200, len(content)))) :]

"""What the fake engine answers in the tests of the page, by what stands in the prompt."""

from typing import Final

RICH: Final = r"""# A title

A **bold** word, *another*, ~~not this~~, `code`, a [link](https://a.example/x) and a formula $x_1^2 + \frac{1}{2}$.

| column | right |
|:--|--:|
| one | 1 |
| two | $y$ |

- first
- second
  1. inner

- [x] done
- [ ] to do

> quoted &amp; decoded

```python
def add(a: int, b: int) -> int:
    return a + b  # a comment
```

$$
\int_0^1 x\,dx = \frac{1}{2}
$$

It costs $3000 and $4000.
"""

HOSTILE: Final = (
    "<script>window.isHacked = true</script>",
    "<img src=x onerror='window.isHacked = true'>",
    "![picture](http://127.0.0.1:9/leak.png?secret=1)",
    "[click](javascript:window.isHacked=true)",
    "[click](data:text/html,<script>parent.isHacked=true</script>)",
    "<svg onload='window.isHacked = true'><use href='data:image/svg+xml,x#a'/></svg>",
    r"$\href{javascript:window.isHacked=true}{x}$ $\includegraphics{http://127.0.0.1:9/a.png}$",
    r"$$\def\a{\a\a}\a$$ $\htmlStyle{position:fixed}{x}$ $\rule{9999em}{9999em}$",
    "```html\n<script>window.isHacked = true</script>\n<img src=x onerror=isHacked=1>\n```",
    '<a href="javascript:isHacked=1" onclick="isHacked=1">x</a><form action="//127.0.0.1:9"><button>go</button></form>',
    "<style>body { display: none }</style><base href='http://127.0.0.1:9/'><iframe src='http://127.0.0.1:9/'></iframe>",
    "[ref]: javascript:isHacked=1\n\n[ref] <javascript:isHacked=1> &#106;avascript:isHacked=1",
)

LONG: Final = "".join(f"Paragraph {number} of a long answer, with **bold** words.\n\n" for number in range(60))
VERY_LONG: Final = "".join(
    f"Paragraph {number} of a very long answer, with **bold** words in it.\n\n" for number in range(900)
)
THOUGHT: Final = "<think>First I think about it.</think>\n\nThen I answer."

ANSWERS: Final = [
    ("show-rich", RICH),
    ("show-long", LONG),
    ("show-thought", THOUGHT),
    *((f"hostile-{index:02}", text) for index, text in enumerate(HOSTILE)),
    ("show-colours", "I see {colours}."),
    ("second-question", "The second answer."),
    ("first-question", "The first answer."),
]

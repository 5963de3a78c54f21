"""The style sheet of a run's page: light and dark, wide and narrow, on paper. Data only.

The contestants' colours are those of M. Okabe and K. Ito, Color Universal Design (2008), which people with any kind of
colour vision tell apart; darker on a light page.
"""

from typing import Final

STYLE: Final = (
    """
:root { color-scheme: light dark; --paper: #fcfcfa; --card: #fff; --ink: #1c1c1a; --quiet: #65655f; --line: #dcdcd4;
  --void: #a3240f; --note: #8a5a00; --c0: #0068a8; --c1: #c14f00; --c2: #007a57; --c3: #a8457c; --c4: #7a6a00;
  --c5: #3a7fa8; --even: #65655f; }
@media (prefers-color-scheme: dark) { :root { --paper: #161618; --card: #1f1f22; --ink: #ececea; --quiet: #a3a39c;
  --line: #3a3a3e; --void: #ff8a73; --note: #f0be5a; --c0: #56b4e9; --c1: #f0944d; --c2: #2fc79a; --c3: #e09ac2;
  --c4: #e8db5a; --c5: #9ad0ee; --even: #a3a39c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0; } h3 { font-size: .95rem; margin: 1rem 0 .25rem; }
p { margin: .35rem 0; } .lead { font-size: 1.2rem; margin: .5rem 0 1rem; }
.quiet, figcaption, dt { color: var(--quiet); font-size: .875rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.1rem;
  margin: 1rem 0; }
.notice { border-left: .3rem solid var(--note); padding: .1rem .7rem; margin: .5rem 0; }
.notice.void { border-color: var(--void); } .notice b { color: var(--note); } .notice.void b { color: var(--void); }
.contestants { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .75rem; }
.contestant { border-top: .25rem solid var(--even); padding-top: .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .8rem; margin: .4rem 0 0; font-size: .875rem; }
dd { margin: 0; overflow-wrap: anywhere; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: .5rem 2rem; }
figure { margin: .75rem 0 0; overflow-x: auto; } figcaption { margin-bottom: .2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums;
  margin-top: .8rem; }
th, td { text-align: right; padding: .3rem .5rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; color: var(--quiet); font-weight: 500; }
th:first-child { text-align: left; } td small { color: var(--quiet); display: block; font-weight: 400; }
td.best { font-weight: 650; }
.key { font-weight: 700; }
svg.plot { display: block; width: 100%; height: auto; }
svg.ratios, svg.timeline { min-width: 34rem; }
svg text { font-size: 12px; fill: var(--ink); } svg .muted { fill: var(--quiet); font-size: 11px; }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; } svg .strong { font-weight: 650; }
svg .grid { stroke: var(--line); } svg .one { stroke: var(--quiet); stroke-dasharray: 3 3; }
svg .bar { opacity: .28; } svg .interval { fill: none; stroke: var(--ink); stroke-width: 1.5; }
svg .dot { opacity: .85; stroke: var(--card); stroke-width: .6; }
svg .token { fill: none; stroke-width: 1; } svg .whisker { stroke-width: 3; stroke-linecap: round; opacity: .45; }
"""
    + "".join(
        f".contestant.c{number} {{ border-color: var(--c{number}); }} .key.c{number}, svg .t{number} "
        f"{{ color: var(--c{number}); fill: var(--c{number}); }} svg .c{number} {{ fill: var(--c{number}); }} "
        f"svg .token.c{number}, svg .whisker.c{number} {{ stroke: var(--c{number}); }}\n"
        for number in range(6)
    )
    + """
svg .even { fill: var(--even); } svg .whisker.even { stroke: var(--even); }
@media print { body { background: none; } section { break-inside: avoid; } }
"""
)

# Copyright (c) the pgops.tls authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the page and its pictures look: in the light and in the dark, on a wide screen, on a narrow one, and on paper.

Each pair of colors has a contrast of at least 4.5 (text) or 3 (marks), as WCAG 2 asks for in level AA.
"""

LIGHT = """
  --paper: #ffffff; --panel: #f6f8fa; --text: #1f2328; --dim: #57606a; --line: #d0d7de;
  --bad: #b3001b; --good: #1a7034; --blue: #0b5cbd; --amber: #8a5a00; --violet: #6f42c1;
"""
DARK = """
  --paper: #0d1117; --panel: #171d25; --text: #e6edf3; --dim: #a1abb6; --line: #3d444d;
  --bad: #ff8f87; --good: #56d364; --blue: #79b8ff; --amber: #e3b341; --violet: #c297ff;
"""
# Of the pictures, on the page and as files of their own
PICTURE = """
svg { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: var(--text) }
.paper { fill: var(--paper) }
.dim { fill: var(--dim); font-size: 12px }
.late { fill: var(--bad); font-weight: 600; font-size: 12px }
.tick { stroke: var(--line) }
.bar { opacity: .45 }
.renewal { stroke: var(--text); stroke-width: 2; fill: none }
.certificate { fill: var(--good) } .kit { fill: var(--amber) } .crl { fill: var(--violet) }
.issuing, .root { fill: var(--blue) } .root.end { fill: var(--paper); stroke: var(--blue); stroke-width: 3 }
.bar.late, .end.late { fill: var(--bad) }
.node rect { fill: var(--panel); stroke: var(--dim) }
.node.other rect { stroke-dasharray: 4 3 } .node.pooler rect { stroke-width: 2 }
.node text { fill: var(--text) } .node .title { font-weight: 600 } .node .dim { fill: var(--dim) }
.line { fill: none; stroke: currentColor; stroke-width: 2 }
.mark { fill: currentColor; stroke: var(--paper); stroke-width: 2; paint-order: stroke }
.sign { fill: none; stroke: var(--paper); stroke-width: 2 }
.edge.verified { color: var(--good) } .edge.encrypted { color: var(--blue) }
.edge.plaintext { color: var(--bad) } .edge.old { color: var(--amber) }
.edge.never, .edge.unknown { color: var(--dim) }
.plaintext .line { stroke-width: 4; stroke-dasharray: 3 5 } .old .line { stroke-dasharray: 10 5 }
.never .line, .unknown .line { stroke-width: 1.5; stroke-dasharray: 2 4 }
.never .mark, .unknown .mark { fill: var(--paper); stroke: currentColor }
.edge:hover .line { stroke-width: 4 }
"""
FILE = f":root {{{LIGHT}}}{PICTURE}"
PAGE = f"""
:root {{ color-scheme: light dark;{LIGHT}}}
@media screen and (prefers-color-scheme: dark) {{ :root {{{DARK}}} }}
{PICTURE}
body {{
  font: 15px/1.45 system-ui, sans-serif; margin: 1.5em auto 4em; max-width: 90em; padding: 0 1em;
  color: var(--text); background: var(--paper); overflow-wrap: break-word
}}
h1 {{ margin-bottom: .4em }}
h2 {{ margin: 2em 0 .6em; border-bottom: 1px solid var(--line); padding-bottom: .2em }}
a, summary {{ color: var(--blue) }}
.headline {{
  font-size: 1.25em; padding: .6em .8em; border-left: .35em solid; background: var(--panel); border-radius: .2em
}}
.headline.good::before {{ content: "\\2713\\a0"; font-weight: 700 }}
.headline.bad::before {{ content: "!\\a0"; font-weight: 800 }}
.note {{ color: var(--dim) }}
.numbers {{ display: flex; flex-wrap: wrap; gap: .6em; margin: 1em 0 }}
.numbers div {{ background: var(--panel); border-radius: .4em; padding: .4em .9em; min-width: 5em }}
.numbers dt {{ color: var(--dim); font-size: .85em }}
.numbers dd {{ margin: 0; font-size: 1.4em; font-weight: 600 }}
nav {{ display: flex; flex-wrap: wrap; gap: .2em 1.2em; font-size: .95em; margin: 1em 0 }}
.choose {{ margin-right: .4em; font-weight: 600 }}
input + label {{ margin-right: 1em }}
figure {{ margin: 1em 0 0; overflow-x: auto }}
figure svg {{ display: block; width: 100%; min-width: 46rem; max-width: 76rem; height: auto }}
.legend {{ color: var(--dim); font-size: .9em; margin: .4em 0 0 }}
.legend span {{ margin-right: 1.4em; white-space: nowrap }}
.key {{ vertical-align: -.2em; margin-right: .3em }}
.table {{ overflow-x: auto }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; vertical-align: top; padding: .3em .9em .3em 0; border-bottom: 1px solid var(--line) }}
th {{ color: var(--dim); font-size: .85em }}
td {{ overflow-wrap: break-word }}
.id {{ font: .85em/1.7 ui-monospace, monospace; min-width: 12ch; overflow-wrap: anywhere }}
.name, .when {{ white-space: nowrap }}
td.bad, td.good, .headline.bad, .headline.good {{ font-weight: 600 }}
td.bad, .headline.bad {{ color: var(--bad) }}
td.good, .headline.good {{ color: var(--good) }}
summary {{ cursor: pointer }}
details {{ display: inline-block }}
@media screen and (max-width: 64em) {{
  thead {{ display: none }}
  .name {{ white-space: normal }}
  table, tbody, tr, td {{ display: block }}
  tr {{ border-bottom: 1px solid var(--line); padding: .5em 0 }}
  td {{ border: 0; padding: .1rem 0 .1rem 8.5rem; min-width: 0 }}
  td:empty {{ display: none }}
  td::before {{ content: attr(data-of); float: left; width: 8rem; margin-left: -8.5rem }}
  td::before {{ font: 600 13px/1.6 system-ui, sans-serif; color: var(--dim) }}
}}
@media print {{
  body {{ font-size: 11px; margin: 0 }}
  nav, .choose, input, label {{ display: none }}
  figure svg {{ min-width: 0 }}
  tr, figure {{ break-inside: avoid }}
  h2 {{ break-after: avoid }}
  .name {{ white-space: normal }}
  th, td {{ padding-right: .5em }}
}}
"""

/** How the page looks: on a phone, on paper, in the dark. No font and no image from anywhere. */
export const style = `
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #57606a; --rule: #d0d7de; --tint: #f6f8fa; --accent: #0b5cad; --good: #14692f; --bad: #b3261e; --other: #9a5b00; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --ink: #e6e9ec; --soft: #a3acb5; --rule: #3a424b; --tint: #1d2228; --accent: #6cb2ff; --good: #5bd07f; --bad: #ff8f87; --other: #f0b35a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 72rem; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 0 0 .5rem; }
p { margin: .4rem 0; max-width: 46rem; }
section { margin: 2rem 0; }
.soft, figcaption, caption { color: var(--soft); font-size: .875rem; }
.verdict { border-left: .4rem solid var(--bad); background: var(--tint); padding: .75rem 1rem; }
.verdict.passed { border-color: var(--good); }
.verdict strong { font-size: 1.15rem; }
.yes, .no, .open { white-space: nowrap; }
.yes { color: var(--good); font-weight: 600; } .no { color: var(--bad); font-weight: 600; } .open { color: var(--other); font-weight: 600; }
.wide { display: grid; gap: 1rem 2rem; }
@media (min-width: 60rem) { .wide { grid-template-columns: 1fr 1fr; align-items: start; } }
.wide > * { min-width: 0; }
.scroll { overflow-x: auto; }
table { overflow-wrap: break-word; border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .25rem 0; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid var(--rule); text-align: left; vertical-align: top; }
thead th { font-size: .8rem; color: var(--soft); }
.wide > .whole { grid-column: 1 / -1; }
tbody th { font-weight: 500; min-width: 5rem; }
.figure { text-align: right; }
td.figure { white-space: nowrap; }
dl { margin: 0; } dl div { padding: .3rem 0; border-bottom: 1px solid var(--rule); }
dt { color: var(--soft); font-size: .875rem; } dd { margin: 0; }
@media (min-width: 40rem) { dl div { display: grid; grid-template-columns: 14rem 1fr; column-gap: 1rem; } }
@media (min-width: 60rem) { .wide dl div { grid-template-columns: 10rem 1fr; } }
@media (max-width: 40rem) { th, td { padding: .3rem .2rem; } table { font-size: .8rem; } thead th { font-size: .7rem; } tbody th { min-width: 4rem; } }
figure { margin: 0; max-width: 36rem; } figure > svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; } svg .tick { fill: var(--soft); font-size: 10.5px; }
.grid { stroke: var(--rule); stroke-width: .6; fill: none; }
.line, .line-thin, .goal, .diagonal { fill: none; stroke: var(--accent); stroke-width: 2; }
.line-thin { stroke-width: 1.2; stroke-dasharray: 2 2; } .goal { stroke: var(--other); stroke-dasharray: 7 4; stroke-width: 1.5; }
.diagonal { stroke: var(--soft); stroke-width: 1; } .band { fill: var(--accent); fill-opacity: .18; stroke: none; }
.dot { fill: var(--accent); stroke: var(--paper); stroke-width: 1; } .dot-hollow { fill: var(--paper); stroke: var(--soft); stroke-width: 1.5; }
.dot-chosen { fill: var(--good); stroke: var(--ink); stroke-width: 1.5; } .dot-faint { fill: var(--accent); fill-opacity: .55; stroke: var(--accent); }
.key { white-space: nowrap; margin-right: .75rem; } .key svg { vertical-align: middle; }
code { font-size: .85em; }
@page { margin: 16mm; }
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --rule: #bbb; --tint: #fff; --accent: #0b5cad; --good: #14692f; --bad: #b3261e; --other: #9a5b00; }
  body { padding: 0; max-width: none; font-size: 10pt; print-color-adjust: exact; }
  section { margin: 1.2rem 0; } h2 { break-after: avoid; } figure, tr, dl div, .verdict { break-inside: avoid; }
  thead { display: table-header-group; } tbody th, td.words { overflow-wrap: anywhere; } .wide { display: block; } .scroll { overflow: visible; } figure { max-width: 10cm; }
}
`;

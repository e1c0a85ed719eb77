"""The style sheet of the page: light or dark, on wide and narrow screens."""

STYLE = """
:root{--ink:#1c2128;--dim:#5b6572;--paper:#fff;--card:#f6f7f9;--line:#d5dae0;--bad:200,40,30;
--good:20,130,70;--train:#59636e;--distill:#0a6fb5;--prune:#c8501b;--fold:#a24a86;
--share:#a57a00;--quantize:#0d8a63;--factorize:#6554c0;--import:#466b06;--baseline:#6b3f1d;
color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ed;--dim:#9aa5b1;--paper:#14181d;
--card:#1d232a;--line:#38424d;--bad:255,100,85;--good:70,200,130;--train:#9aa5b1;
--distill:#57aeea;--prune:#f0854f;--fold:#d68abd;--share:#d9ae35;--quantize:#3fc79a;--factorize:#a79bf0;
--import:#c5ec6a;--baseline:#f0d2a8}}
*{box-sizing:border-box}html{-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:1264px;padding:12px;background:var(--paper);color:var(--ink);
font:15px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:.3em 0}
h2{font-size:1.15rem;margin:2em 0 .2em;padding-top:.6em;border-top:1px solid var(--line)}
h3{font-size:.95rem;margin:.2em 0}
.note{color:var(--dim);max-width:75ch;margin:.2em 0 .9em}
.warn{border-left:4px solid rgb(var(--bad));padding:.3em .7em;background:var(--card);
max-width:75ch}nav{display:flex;flex-wrap:wrap;gap:.2em 1em;margin:.8em 0}
a{color:var(--distill)}
dl.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(165px,1fr));gap:.5em 1.2em;
margin:.8em 0}.facts dt{color:var(--dim);font-size:.8rem}
.facts dd{margin:0}.scroll{overflow-x:auto;overflow-y:hidden}
code,.mono{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.85em}
table{border-collapse:collapse;font-size:.86rem;font-variant-numeric:tabular-nums}
th,td{padding:.28em .6em;text-align:right;white-space:nowrap;
border-bottom:1px solid var(--line)}
thead th{color:var(--dim);font-weight:600;vertical-align:bottom}
th:first-child,td.words,th.words{text-align:left}
th:first-child{position:sticky;left:0;background:var(--paper);z-index:1}
tbody th{color:var(--ink);white-space:normal;min-width:118px;
max-width:min(42vw,250px)}.js table.sorts thead th{cursor:pointer}
th[aria-sort=ascending]::after{content:" \\25B4"}
th[aria-sort=descending]::after{content:" \\25BE"}
.range{color:var(--dim);font-size:.85em;font-weight:400;display:block}
svg{display:block;font:11px system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
svg text{fill:var(--ink)}svg .dim{fill:var(--dim)}svg .grid{stroke:var(--line);stroke-width:1}
svg .axis{stroke:var(--dim)}
.plots,.cards{display:grid;gap:18px 26px;grid-template-columns:repeat(auto-fit,minmax(min(100%,
400px),1fr))}.cards{grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr))}
figure{margin:0;max-width:560px}figcaption{color:var(--dim);font-size:.85rem}
.tree rect.card{fill:var(--card);stroke:var(--line)}
.tree .branch{fill:none;stroke:var(--dim);stroke-width:1.3}
.tree .name,.tree .star{font-weight:600;font-size:12.5px}
.tree .front rect.card{stroke:var(--ink);stroke-width:1.6}.tree .whole{fill:var(--line)}
.narrow{display:none}@media(max-width:900px){.across{display:none}.narrow{display:block}}
.by-train{--own:var(--train)}.by-distill{--own:var(--distill)}.by-prune{--own:var(--prune)}
.by-fold{--own:var(--fold)}.by-factorize{--own:var(--factorize)}
.by-share{--own:var(--share)}.by-quantize{--own:var(--quantize)}
.by-import{--own:var(--import)}.by-baseline{--own:var(--baseline)}
.mark{fill:var(--own,var(--train))}.point .mark{stroke:var(--own,var(--train));stroke-width:2}
.point:not(.front) .mark{fill:var(--paper)}
.point line{stroke:var(--own,var(--train));stroke-width:1.2;opacity:.75}
.point .reach{fill:transparent}.scatter text{font-size:10px}
.scatter .label{paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.edge{fill:none;stroke:var(--dim);stroke-dasharray:4 3}
.swatch{display:inline-block;width:.8em;height:.8em;border-radius:2px;background:var(--own,
var(--train));margin:0 .35em 0 0}
.legend{display:flex;flex-wrap:wrap;gap:.2em 1.2em;color:var(--dim);font-size:.85rem;
margin:.2em 0 .6em;padding:0;list-style:none}.curve{fill:none;stroke-width:1.7}
.curve.one{stroke:var(--distill)}.curve.two{stroke:var(--prune)}.dot.one{fill:var(--distill)}
.dot.two{fill:var(--prune)}.shots{display:flex;flex-wrap:wrap;gap:8px}
.shots figure{width:76px;font-size:.73rem;line-height:1.25}
.shots img{width:76px;height:76px;object-fit:contain;image-rendering:pixelated;
background:var(--line);display:block}.shots figure:has(blockquote){width:230px}
.shots blockquote{margin:0 0 3px;padding:3px 6px;border-left:3px solid var(--line)}
.shots b{color:rgb(var(--bad))}
.heat td{min-width:62px}.heat .range{color:inherit;opacity:.8}
.sure{outline:2px solid rgb(var(--bad));outline-offset:-2px}.bars{width:100%;max-width:620px}
.bars tbody th{min-width:164px;max-width:none;font-weight:400;font-size:.8rem;
overflow-wrap:break-word}.bars td.bar{width:70%;min-width:70px;text-align:left}
.bars span{background:var(--line);height:11px;border-radius:2px;display:block;overflow:hidden}
.bars i{display:block;height:11px;background:var(--own,var(--prune))}
.bars td .range{display:block}.bars span.thin{margin-top:3px}
.bars span.thin,.bars .thin i{height:4px}.bars span.range{background:none;height:auto}
.bars .stayed i,.swatch.stayed{background:var(--distill)}
.bars .cut i,.swatch.cut{background:var(--train)}
.saliency th,.saliency td{text-align:left;vertical-align:top;padding:.35em .4em}
.saliency td{white-space:normal;max-width:84px}
.saliency tbody th,.saliency thead th{font-size:.73rem;line-height:1.25;min-width:84px;
max-width:84px;white-space:normal}
.saliency td{font-size:.73rem;line-height:1.25}
.saliency img,.saliency .none{width:76px;height:76px;object-fit:contain;display:block;
background:var(--line)}.saliency .none{display:grid;place-items:center;color:var(--dim)}
.saliency p{margin:0 0 3px;min-width:150px}.saliency td:has(p){max-width:260px}
.saliency b{color:rgb(var(--bad))}details{min-width:0}
summary{cursor:pointer;font-weight:600}.passed{color:rgb(var(--good))}
.refused{color:rgb(var(--bad));font-weight:600}
.hot rect.card,tr.hot>*{background:color-mix(in srgb,var(--distill) 14%,var(--paper))}
.hot rect.card{fill:color-mix(in srgb,var(--distill) 18%,var(--paper))}
.point.hot .mark{stroke-width:5}
#tip{position:fixed;pointer-events:none;z-index:9;white-space:pre-line;max-width:290px;
padding:.4em .6em;font-size:.82rem;background:var(--ink);color:var(--paper);border-radius:4px}
footer{color:var(--dim);margin:2.5em 0 1em;font-size:.85rem}
@media print{body{max-width:none}.scroll{overflow:visible}section{break-inside:avoid-page}}
"""

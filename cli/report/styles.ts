// The page's one style sheet. Dark colours are for screens only: paper is always light.
import { darkPlotRules } from "./plots/palette.ts";

const base = `
:root{color-scheme:light dark;--back:#fbfbfa;--panel:#f1f1ee;--text:#1e1e1c;--faint:#5c5c57;--line:#dcdcd6;--accent:#1f5fbf;
--mark:#ffe3a3;--mark-text:#1e1e1c;--good:#17663f;--bad:#a3231f;font:16px/1.55 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--back);color:var(--text)}
.page{max-width:58rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.25;margin:0 0 .3rem}
h2{font-size:1.3rem;margin:2.6rem 0 .8rem;padding-top:.8rem;border-top:1px solid var(--line)}
h3{font-size:1.08rem;margin:1.8rem 0 .4rem}
h4{font-size:.92rem;margin:0 0 .3rem}
h1,h2,h3,h4,p,li,figcaption,caption,summary{overflow-wrap:anywhere;unicode-bidi:isolate}
p{margin:.4rem 0 .8rem}
.note,figcaption,caption,header p{color:var(--faint);font-size:.9rem}
a{color:var(--accent)}
nav ul{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;list-style:none;margin:.8rem 0 0;padding:0}
code,pre{font:.88em/1.5 ui-monospace,"SF Mono",Menlo,Consolas,"DejaVu Sans Mono",monospace}
code{overflow-wrap:anywhere}
pre{margin:.6rem 0;padding:.7rem .9rem;background:var(--panel);border-radius:.4rem;white-space:pre-wrap}
.scroll{overflow-x:auto;margin:.9rem 0;max-width:100%}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding-bottom:.35rem}
caption span{display:block;position:sticky;left:0;width:max-content;max-width:min(56rem,calc(100vw - 2rem))}
th,td{padding:.28rem .9rem .28rem 0;text-align:right;vertical-align:top;border-bottom:1px solid var(--line);unicode-bidi:isolate}
th:last-child,td:last-child{padding-right:.2rem}
tbody th,th:first-child,.words{text-align:left}
thead th{color:var(--faint);font-weight:600;vertical-align:bottom;min-width:5.6rem}
tbody th{font-weight:600;max-width:18rem;min-width:7.5rem;overflow-wrap:anywhere}
td{white-space:nowrap}
td.words{white-space:normal;min-width:7rem;max-width:34rem;overflow-wrap:anywhere}
.verdict{font-size:.78rem;padding:0 .35rem;border:1px solid;border-radius:.6rem}
.verdict.noise{color:var(--faint)}
.verdict.better{color:var(--good)}
.verdict.worse{color:var(--bad)}
figure{margin:1.1rem 0}
figcaption{margin-top:.3rem}
.plot svg{display:block;max-width:100%;height:auto}
.plot.narrow{display:none}
details{margin:.6rem 0}
summary{cursor:pointer;color:var(--accent)}
.written{white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate}
.prompt{padding:.5rem .8rem;background:var(--panel);border-radius:.4rem}
.outputs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(17rem,100%),1fr));gap:.6rem 1.6rem}
.output{min-width:0}
mark{background:var(--mark);color:var(--mark-text);border-radius:.15rem;text-decoration:underline dotted}
mark.first{outline:1.5px solid;text-decoration:none}
`;

const phone = `
@media screen and (max-width:52rem){.plot.wide{display:none}.plot.narrow{display:block}}
@media screen and (max-width:30rem){.page{padding:1rem .9rem 3rem}h1{font-size:1.4rem}}
`;

const dark = `
@media screen and (prefers-color-scheme:dark){
:root{--back:#191a1c;--panel:#232528;--text:#e7e7e4;--faint:#a5a6a2;--line:#37393d;--accent:#8fb8f5;
--mark:#5b4716;--mark-text:#fff3d6;--good:#7fd6a8;--bad:#ff9b93}
${darkPlotRules()}
}
`;

const print = `
@media print{
@page{margin:1.6cm}
:root{--back:#fff;font-size:10pt}
.page{max-width:none;padding:0}
nav,summary{display:none}
.scroll{overflow:visible}
td{white-space:normal}
h2,h3,h4,caption{break-after:avoid}
figure,tr,.sample .output{break-inside:avoid}
details::details-content{content-visibility:visible;block-size:auto}
pre,.prompt{background:none;border:1px solid var(--line)}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
`;

export const styleSheet: string = `${base}${phone}${dark}${print}`;

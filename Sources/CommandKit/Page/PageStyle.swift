/// The look of the page, for light and dark, wide and narrow. No `<` and no `&`: it is not escaped.
package enum PageStyle {
  package static let sheet: StaticString = """
    :root {
      --page: #f4f6f9; --card: #ffffff; --ink: #1a232e; --muted: #52606d; --line: #dde3ea; --grid: #e3e8ee;
      --one: #8896a5; --ours: #2f66b3; --floor: #66768a; --peer: #a9b6c4; --spread: #0d2748; --goal: #b45309;
      --met: #1f6f43; --met-back: #e3f4ea; --missed: #b42318; --missed-back: #fdeceb; --open-back: #eceff3;
      --warn: #7c4a03; --warn-back: #fdf1dc; --warn-line: #e6b961; --band: #d9efe2;
      --c0: #2f66b3; --c1: #6b7785; --c2: #b45309; --c3: #1f7a4d;
      --c4: #9b3fa0; --c5: #b42318; --c6: #0f7f8c; --c7: #7a6a10;
    }
    @media (prefers-color-scheme: dark) {
      :root {
        --page: #0e1319; --card: #171e27; --ink: #e7edf3; --muted: #a3b1bf; --line: #2b3643; --grid: #26313d;
        --one: #66788a; --ours: #5c9bef; --floor: #a3b1c0; --peer: #5a6d82; --spread: #e4efff; --goal: #f0a03c;
        --met: #7fd6a3; --met-back: #163526; --missed: #ff9d92; --missed-back: #43201d; --open-back: #26303b;
        --warn: #f5cf8b; --warn-back: #33270f; --warn-line: #7a5b1c; --band: #1c3a2a;
        --c0: #5c9bef; --c1: #9aa8b6; --c2: #f0a03c; --c3: #5fc48c;
        --c4: #d88be0; --c5: #ff8d80; --c6: #4fc3d0; --c7: #d6c25a;
      }
    }

    * { box-sizing: border-box; }
    html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
    body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5; font-size: 15px;
      font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif;
      font-variant-numeric: tabular-nums; }
    h1, h2, h3, h4, p, dl, dd, ul, figure { margin: 0; padding: 0; }
    ul { list-style: none; }
    svg { display: block; }
    a { color: var(--ours); }
    a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 2px solid var(--ours);
      outline-offset: 2px; }

    header { background: linear-gradient(135deg, #0c1c33 0%, #16386a 60%, #1f5a94 100%); color: #fff; }
    .inner, main, footer { max-width: 1180px; margin: 0 auto; padding: 0 20px; }
    .inner { padding-top: 44px; padding-bottom: 22px; }
    .eyebrow { font-size: 13px; letter-spacing: .06em; text-transform: uppercase; color: #b9d2f1; }
    h1 { font-size: clamp(30px, 5vw, 46px); line-height: 1.12; letter-spacing: -.02em; margin: 6px 0 12px; }
    .lead { max-width: 720px; font-size: 17px; color: #dbe7f6; }
    .tiles { display: grid; gap: 12px; margin: 28px 0 20px;
      grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); }
    .tiles div { background: rgba(255, 255, 255, .09); border: 1px solid rgba(255, 255, 255, .14); border-radius: 10px;
      padding: 12px 14px; }
    .tiles dt { font-size: 12px; letter-spacing: .05em; text-transform: uppercase; color: #c3d8f2; }
    .tiles .value { font-size: 26px; font-weight: 650; line-height: 1.25; letter-spacing: -.01em; }
    .tiles .note { font-size: 12.5px; line-height: 1.35; color: #c8d9ee; }
    nav { display: flex; flex-wrap: wrap; gap: 6px; }
    nav a { color: #fff; text-decoration: none; font-size: 14px; padding: 3px 11px; border-radius: 999px;
      border: 1px solid rgba(255, 255, 255, .3); }
    nav a:hover { background: rgba(255, 255, 255, .16); }
    nav a:focus-visible { outline-color: #fff; }

    main { display: grid; grid-template-columns: minmax(0, 1fr); gap: 20px; padding-top: 24px; padding-bottom: 24px; }
    .card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 18px 20px;
      min-width: 0; }
    h2 { font-size: 20px; letter-spacing: -.01em; margin-bottom: 10px; }
    .warnings { background: var(--warn-back); border: 1px solid var(--warn-line); color: var(--warn);
      border-radius: 12px; padding: 14px 20px; }
    .warnings h2 { font-size: 16px; margin-bottom: 4px; }
    .warnings li { padding-left: 18px; position: relative; }
    .warnings li::before { content: '!'; position: absolute; left: 4px; font-weight: 700; }
    .machine dl { display: grid; gap: 12px 24px;
      grid-template-columns: repeat(auto-fill, minmax(min(100%, 260px), 1fr)); }
    .machine dt { font-size: 13px; color: var(--muted); }
    .machine dd { overflow-wrap: anywhere; }
    .reading dl { display: grid; gap: 16px 28px; margin-bottom: 12px;
      grid-template-columns: repeat(3, minmax(0, 1fr)); }
    .reading dt { margin-bottom: 4px; }

    .suite { margin-top: 16px; min-width: 0; }
    .suite h2 { font-size: 28px; text-transform: capitalize; margin-bottom: 2px; }
    .about { color: var(--muted); max-width: 760px; }
    h3 { font-size: 16px; margin: 16px 0 10px; text-transform: capitalize; }
    h3 span { font-weight: 400; font-size: 14px; color: var(--muted); margin-left: 10px; text-transform: none; }
    .groups { display: grid; gap: 0 14px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
    .group { display: flex; flex-direction: column; min-width: 0; }
    .group .cases { flex: 1; }
    .cases { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); }
    .wide { grid-column: 1 / -1; }
    .title { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 4px 14px; }
    .title div { min-width: 0; flex: 1 1 230px; }
    h4 { font-size: 16px; line-height: 1.35; overflow-wrap: anywhere; }
    .facts { font-size: 13px; color: var(--muted); }
    .aim { font-size: 13px; color: var(--muted); white-space: nowrap; }
    .verdict { display: inline-block; font-weight: 600; font-size: 12.5px; line-height: 1; padding: 4px 8px;
      border-radius: 999px; white-space: nowrap; background: var(--open-back); color: var(--muted); margin-left: 4px; }
    .verdict.met { color: var(--met); background: var(--met-back); }
    .verdict.missed { color: var(--missed); background: var(--missed-back); }
    .headline { display: flex; flex-wrap: wrap; align-items: baseline; gap: 0 10px; margin: 8px 0 10px;
      color: var(--muted); font-size: 14px; }
    .headline .big { font-size: 28px; line-height: 1.2; font-weight: 680; letter-spacing: -.02em; color: var(--ink); }
    .headline .figure { color: var(--ink); font-weight: 600; }
    .headline .tail { margin-left: auto; }
    .range::before { content: '('; }
    .range::after { content: ')'; }
    .both { display: grid; grid-template-columns: minmax(0, 4fr) minmax(0, 7fr); gap: 18px 32px; }
    .chart, .curves { min-width: 0; }
    .curves + .curves { margin-top: 24px; }

    .said { display: grid; grid-template-columns: minmax(0, 1fr) auto auto; align-items: end; gap: 0 8px;
      font-size: 13.5px; line-height: 1.4; }
    .subject { overflow-wrap: anywhere; margin-right: 3px; }
    .said .note { display: inline-block; color: var(--muted); font-size: 12.5px; }
    .said .figure { white-space: nowrap; }
    .said .times { min-width: 50px; text-align: right; font-weight: 600; }
    .ours .subject, .ours .figure { font-weight: 650; }
    .bars li + li { margin-top: 1px; }
    .bar { overflow: visible; }
    .bar .grid { stroke: var(--grid); }
    .grid.one { stroke: var(--one); stroke-dasharray: 3 3; }
    .fill { fill: var(--peer); }
    .ours .fill { fill: var(--ours); }
    .floor .fill { fill: var(--floor); }
    .cut { stroke: var(--card); stroke-width: 3; fill: none; }
    .spread { stroke: var(--spread); stroke-width: 1.5; }
    .bar .goal { stroke: var(--goal); stroke-width: 2; }
    .flag { fill: var(--goal); }
    .axis { position: relative; height: 18px; font-size: 12px; color: var(--muted); }
    .axis span, .along span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
    .axis span:first-child, .along span:first-child { transform: none; }
    .axis span:last-child, .along span:last-child { transform: translateX(-100%); }

    figcaption { font-weight: 600; font-size: 14px; margin-bottom: 10px; }
    .plot { display: grid; grid-template: 300px 22px / 62px minmax(0, 1fr); }
    .plot svg { width: 100%; height: 300px; overflow: visible; }
    .plot .grid { stroke: var(--grid); vector-effect: non-scaling-stroke; }
    .up, .along { position: relative; font-size: 12px; color: var(--muted); }
    .up span { position: absolute; right: 8px; transform: translateY(50%); white-space: nowrap; }
    .along { grid-column: 2; }
    .along span { top: 4px; }
    .caption { font-size: 12px; color: var(--muted); text-align: right; margin-bottom: 8px; }
    .line { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
    .line-0 { stroke: var(--c0); stroke-width: 3; }
    .line-1 { stroke: var(--c1); stroke-dasharray: 7 4; }
    .line-2 { stroke: var(--c2); }
    .line-3 { stroke: var(--c3); stroke-dasharray: 2 3; }
    .line-4 { stroke: var(--c4); stroke-dasharray: 10 4 2 4; }
    .line-5 { stroke: var(--c5); }
    .line-6 { stroke: var(--c6); stroke-dasharray: 7 4; }
    .line-7 { stroke: var(--c7); stroke-dasharray: 2 3; }
    th .sample { display: inline-block; margin-right: 8px; vertical-align: middle; }

    .controls { margin-top: 14px; }
    .controls ul { display: grid; gap: 10px 28px; margin-top: 8px;
      grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); }
    .rail { stroke: var(--grid); stroke-width: 2; }
    .band { fill: var(--band); }
    .strip .spread { stroke-width: 2; }
    .dot { fill: var(--ours); }
    .dot.stray { fill: var(--missed); }

    details { margin-top: 14px; }
    summary { cursor: pointer; font-weight: 600; font-size: 14px; padding: 6px 0; }
    .scroll { overflow-x: auto; max-width: 100%; border: 1px solid var(--line); border-radius: 10px;
      background: var(--card); }
    table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
    th, td { padding: 6px 12px; text-align: left; vertical-align: top; border-top: 1px solid var(--line);
      font-weight: 400; }
    thead th, thead td { border-top: 0; color: var(--muted); font-size: 12.5px; white-space: nowrap;
      background: var(--page); }
    .number { text-align: right; }
    .strong { font-weight: 650; }
    .figures { font-size: 13px; }
    .figures th, .figures td { padding: 5px 8px; }
    .figures td, .curves td, .curves th, .goals td { white-space: nowrap; }
    .figures td.reason { white-space: normal; color: var(--muted); }
    .figures tbody th { min-width: 170px; font-weight: 600; }
    .figures thead th:nth-child(n+3):nth-child(-n+6) { text-align: right; }
    .figures thead th:nth-child(n+9) { text-align: right; }
    .figures .peer td { border-top: 0; padding-top: 0; }
    .figures .control { color: var(--muted); }
    .goals tbody th { min-width: 210px; font-weight: 600; }
    .goals .reference { white-space: normal; min-width: 150px; }
    .goals thead th:nth-child(4), .goals thead th:nth-child(5) { text-align: right; }
    .curves td, .curves thead th { text-align: right; }
    .curves th, .curves td { padding: 6px 10px; }

    .method dl { display: grid; gap: 16px 32px;
      grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); }
    .method dt { font-weight: 650; }
    .method dd { color: var(--muted); font-size: 14px; }
    footer { color: var(--muted); font-size: 13px; padding-bottom: 40px; }

    @media (max-width: 760px) {
      .inner { padding-top: 28px; }
      .inner, main, footer { padding-left: 14px; padding-right: 14px; }
      .lead { font-size: 15.5px; }
      .tiles { grid-template-columns: 1fr 1fr; gap: 8px; }
      .tiles .value { font-size: 22px; }
      .card { padding: 14px; }
      .reading dl, .both { grid-template-columns: minmax(0, 1fr); }
      .machine dl { grid-template-columns: minmax(0, 1fr); gap: 8px; }
      .machine dl div { display: grid; grid-template-columns: 88px minmax(0, 1fr); }
      .headline .tail { margin-left: 0; width: 100%; }
      h3 span { display: block; margin-left: 0; }
      .plot { grid-template: 230px 22px / 54px minmax(0, 1fr); }
      .plot svg { height: 230px; }
      .spared { display: none; }
      .goals, .goals tbody { display: block; }
      .goals thead { display: none; }
      .goals tr { display: grid; grid-template-columns: minmax(0, 1fr) auto; padding: 10px 12px; gap: 1px 10px; }
      .goals tr + tr { border-top: 1px solid var(--line); }
      .goals tbody th, .goals td { display: block; border: 0; padding: 0; min-width: 0; white-space: normal; }
      .goals tbody th { order: 1; }
      .goals .judged { order: 2; text-align: right; }
      .goals .reference { order: 3; color: var(--muted); }
      .goals .strong { order: 4; }
      .goals .goal { order: 5; color: var(--muted); text-align: left; }
      .goals .suite-name { order: 6; text-align: right; }
    }
    @media print {
      header { background: none; color: #000; }
      .eyebrow, .lead, .tiles dt, .tiles .note { color: #333; }
      .card { break-inside: avoid; }
      nav { display: none; }
    }
    """
}

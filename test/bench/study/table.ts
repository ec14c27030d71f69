// The study's result as Markdown.
export type TextScore = {
  /** Over the float model */
  readonly rise: number;
  readonly kl: number;
  readonly top1: number;
};

/** One quantized model. */
export type Measured = {
  readonly variant: string;
  readonly bitsPerWeight: number;
  readonly bytes: number;
  /** Of quantizing; NaN for a peer's file */
  readonly seconds: number;
  /** By text. */
  readonly scores: readonly TextScore[];
};

const mean = (xs: readonly number[]) => xs.reduce((a, b) => a + b, 0) / xs.length;

function deviation(xs: readonly number[]): number {
  const squares = xs.reduce((sum, x) => sum + (x - mean(xs)) ** 2, 0);
  return Math.sqrt(squares / Math.max(1, xs.length - 1));
}

/** Mean, and the standard deviation between draws of calibration data where there are several. */
function spread(xs: readonly number[], digits: number): string {
  const text = mean(xs).toFixed(digits);
  return xs.length > 1 ? `${text} ± ${deviation(xs).toFixed(digits)}` : text;
}

/**
 * A row per variant: rise of perplexity over the float model, KL, top-1 agreement by text, and both rise and KL as shares of
 * the first variant's, in the mean of the texts.
 */
export function renderTable(measured: readonly Measured[], texts: readonly string[]): string {
  const names = [...new Set(measured.map(({ variant }) => variant))];
  const of = (name: string) => measured.filter(({ variant }) => variant === name);
  const values = (name: string, text: number, key: keyof TextScore) =>
    of(name).map(({ scores }) => scores[text]?.[key] ?? Number.NaN);
  const [base = ""] = names;
  const share = (name: string, key: "rise" | "kl") =>
    mean(texts.map((_, t) => mean(values(name, t, key)) / mean(values(base, t, key)))).toFixed(2);
  const header = texts.map((text) => ` ${text} ppl | KL e-3 | top-1 % |`).join("");
  const lines = [
    `| recipe | bpw | MB | s |${header} share of rise | of KL |`,
    `| --- | --- | --- | --- |${texts.map(() => " --- | --- | --- |").join("")} --- | --- |`,
  ];
  for (const name of names) {
    const rows = of(name);
    const seconds = mean(rows.map((row) => row.seconds));
    const cells = texts.map((_, t) => {
      const kl = values(name, t, "kl").map((x) => 1e3 * x);
      const top1 = (100 * mean(values(name, t, "top1"))).toFixed(2);
      const digits = mean(kl) < 0.1 ? 4 : 2;
      return ` +${spread(values(name, t, "rise"), 3)} | ${spread(kl, digits)} | ${top1} |`;
    });
    lines.push(
      `| ${name} | ${rows[0]?.bitsPerWeight.toFixed(3)} | ${((rows[0]?.bytes ?? 0) / 1e6).toFixed(2)} | ` +
        `${Number.isNaN(seconds) ? "" : seconds.toFixed(1)} |${cells.join("")} ${share(name, "rise")} | ${share(name, "kl")} |`,
    );
  }
  return lines.join("\n").replaceAll("+-", "−");
}

// The page in a real browser, of a run like any and of one whose every text is an attack.
import { cpSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildReport } from "../../../cli/report/model.ts";
import { reportPage } from "../../../cli/report/page.ts";
import { readRun } from "../../../cli/report/read-run.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { makeHostile } from "./hostile.ts";
import { writeRun } from "./run-fixture.ts";

const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
if (executablePath === undefined) console.warn("skipped: there is no Chromium here");

const work = temporaryDirectory();
afterAll(work.remove);
const plain = join(work.path, "plain");
const hostile = join(work.path, "hostile");
const pages = new Map<string, string>();

beforeAll(async () => {
  await writeRun(plain, work.path);
  cpSync(plain, hostile, { recursive: true });
  makeHostile(hostile);
  for (const dir of [plain, hostile]) {
    pages.set(dir, await reportPage(buildReport(await readRun(dir))));
  }
});

test("has a policy that forbids scripts and loading", () => {
  for (const page of pages.values()) {
    expect(page).toContain(`content="default-src 'none';`);
    expect(page).not.toMatch(/<script|<link rel="stylesheet|@import|url\((?!#)/);
  }
});

describe.skipIf(executablePath === undefined)("the report's page", { timeout: 120_000 }, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: executablePath!, args: ["--no-sandbox"] });
  });
  afterAll(() => browser.close());

  type View = { readonly width?: number; readonly colorScheme?: "light" | "dark" };

  async function withPage(
    dir: string,
    { width = 1280, colorScheme = "light" }: View,
    body: (page: Page) => Promise<void>,
  ): Promise<void> {
    const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
    const page = await context.newPage();
    const wrong: string[] = [];
    // Served rather than set, so that the page is loaded as any other.
    await page.route("**/*", async (route) => {
      const url = route.request().url();
      if (url === "http://report.test/") {
        await route.fulfill({ body: pages.get(dir)!, contentType: "text/html" });
        return;
      }
      wrong.push(url);
      await route.abort();
    });
    page.on("pageerror", (error) => wrong.push(String(error)));
    page.on("console", (message) => wrong.push(message.text()));
    try {
      await page.goto("http://report.test/");
      await body(page);
      await page.waitForTimeout(200);
      expect(wrong).toEqual([]);
    } finally {
      await context.close();
    }
  }

  const views = [375, 800, 1280].flatMap((width) => [
    { name: "plain", dir: plain, width },
    { name: "hostile", dir: hostile, width },
  ]);
  test.each(views)(
    "$name at $width pixels: nothing is loaded, nothing wider than the page",
    async ({ dir, width }) => {
      await withPage(dir, { width }, async (page) => {
        expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(
          width,
        );
        expect(await page.title()).not.toBe("broken");
        expect(
          await page.locator("script, img, iframe, [onload], [onerror], [onclick]").count(),
        ).toBe(0);
        expect(await page.locator("style").count()).toBe(1);
        expect(await page.locator("section").count()).toBe(9);
        // Each figure shows one of its two drawings.
        const figures = await page.locator("figure").count();
        expect(figures).toBeGreaterThan(5);
        expect(await page.locator("figure svg:visible").count()).toBe(figures);
        // No name is so long that a drawing has no room left.
        const rooms = await page.locator("figure svg:visible").evaluateAll((drawings) =>
          drawings.map((drawing) => {
            const plot = drawing.querySelector(".role-frame .background");
            return (
              (plot?.getBoundingClientRect().width ?? 0) / drawing.getBoundingClientRect().width
            );
          }),
        );
        expect(Math.min(...rooms)).toBeGreaterThan(0.6);
      });
    },
  );

  test("shows hostile texts as they are", async () => {
    await withPage(hostile, {}, async (page) => {
      const models = JSON.parse(readFileSync(join(hostile, "run.json"), "utf8")).models;
      const cell = await page.locator("#overview ~ .scroll tbody th").first().textContent();
      expect(cell).toBe(
        models[0].name.replaceAll(/[\p{Cc}\u202e]/gu, (c: string) => (c === "\n" ? c : "\ufffd")),
      );
      expect(await page.locator("main b, main i").count()).toBe(0);
    });
  });

  test.each(["light", "dark"] as const)(
    "has contrast in %s, drawings included",
    async (colorScheme) => {
      await withPage(plain, { colorScheme }, async (page) => {
        const { checked, wrong } = (await page.evaluate(lowContrast)) as Contrast;
        expect(wrong).toEqual([]);
        expect(checked).toBeGreaterThan(200);
      });
    },
  );

  test("names its plots and tables, and links to its sections", async () => {
    await withPage(plain, {}, async (page) => {
      expect(await page.locator(".plot:not([role=img][aria-label])").count()).toBe(0);
      expect(await page.locator("table:not(:has(caption))").count()).toBe(0);
      expect(await page.locator("h1").count()).toBe(1);
      const targets = await page
        .locator("nav a")
        .evaluateAll((links) => links.map((link) => (link as unknown as { hash: string }).hash));
      expect(targets.length).toBe(9);
      for (const target of targets) expect(await page.locator(target).count()).toBe(1);
      const ids = await page.locator("[id]").evaluateAll((all) => all.map(({ id }) => id));
      expect(new Set(ids).size).toBe(ids.length);
    });
  });

  test("prints in light colours, with what was folded away, within the paper", async () => {
    await withPage(plain, { colorScheme: "dark", width: 680 }, async (page) => {
      const folded = page.locator("details tbody tr").first();
      expect(await folded.isVisible()).toBe(false);
      await page.emulateMedia({ media: "print", colorScheme: "dark" });
      expect(await folded.isVisible()).toBe(true);
      expect(await page.evaluate("getComputedStyle(document.body).backgroundColor")).toBe(
        "rgb(255, 255, 255)",
      );
      expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(680);
      expect(await page.locator("figure .wide svg:visible").count()).toBe(
        await page.locator("figure").count(),
      );
      const pdf = await page.pdf({ format: "A4" });
      expect(pdf.subarray(0, 5).toString("latin1")).toBe("%PDF-");
      expect(pdf.toString("latin1").match(/\/Type \/Page\b/g)?.length).toBeGreaterThan(3);
    });
  });
});

/** Texts and lines of less contrast with the page than people need: 4.5 for texts, 3 for what is drawn. */
const lowContrast = `(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = channels(color).slice(0, 3).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const backOf = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const { backgroundColor } = getComputedStyle(at);
      if (!/^rgba\\(.* 0\\)$/.test(backgroundColor)) return backgroundColor;
    }
    return "rgb(255, 255, 255)";
  };
  const wrong = [];
  let checked = 0;
  const check = (element, color, least) => {
    checked += 1;
    if (contrast(color, backOf(element)) < least) wrong.push(element.outerHTML.slice(0, 80) + " " + color);
  };
  for (const element of document.querySelectorAll("h1,h2,h3,p,th,td,caption,a,summary,figcaption,mark,.verdict,code")) {
    check(element, getComputedStyle(element).color, 4.5);
  }
  for (const element of document.querySelectorAll("figure svg text")) check(element, getComputedStyle(element).fill, 4.5);
  for (const element of document.querySelectorAll(".mark-line path, .role-legend-symbol path, .mark-symbol path")) {
    const { fill, stroke } = getComputedStyle(element);
    if (fill !== "none") check(element, fill, 3);
    else if (stroke !== "none") check(element, stroke, 3);
  }
  return { checked, wrong };
})()`;

type Contrast = { readonly checked: number; readonly wrong: readonly string[] };

// The chat page in a real browser.
import { existsSync } from "node:fs";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  type Listener,
  openQwenTokenizer,
  readGenerationConfig,
  type Tokenizer,
} from "../../../runtime/index.ts";
import { createApp, listen } from "../../../runtime/server/index.ts";
import { repositoryPath } from "../../support/shared.ts";
import { miniPath } from "../generation/generate-support.ts";
import { ScriptedEngine } from "./support.ts";

const pageFolder = repositoryPath("dist", "runtime", "server", "web");
const executablePath = ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
if (executablePath === undefined) console.warn("skipped: there is no Chromium here");

const hostile = `Look:

<img src="https://example.com/x.png" onerror="document.title='broken'">
<script>document.title = 'broken'</script>
<a href="javascript:document.title='broken'">a link</a> <div style="position:fixed;inset:0" onclick="x">over</div>

| a | b |
| --- | --- |
| 1 | 2 |

\`\`\`html
<img src=x onerror=alert(1)>
\`\`\`
**done**`;
const long = Array.from({ length: 4000 }, (_, i) => `word${i}`).join(" ");

describe.skipIf(executablePath === undefined)("the chat page", { timeout: 60_000 }, () => {
  let tokenizer: Tokenizer;
  let browser: Browser;
  beforeAll(async () => {
    tokenizer = openQwenTokenizer(miniPath);
    browser = await chromium.launch({ executablePath: executablePath!, args: ["--no-sandbox"] });
  });
  afterAll(async () => {
    await browser.close();
    tokenizer[Symbol.dispose]();
  });

  type Opened = {
    readonly page: Page;
    readonly context: BrowserContext;
    readonly listener: Listener;
    readonly engine: ScriptedEngine;
    readonly foreign: string[];
  };

  async function withPage(
    answers: readonly string[],
    body: (opened: Opened) => Promise<void>,
    options: { readonly apiKey?: string; readonly width?: number } = {},
  ): Promise<void> {
    const engine = new ScriptedEngine(tokenizer, answers, 7, 3);
    const config = readGenerationConfig(miniPath);
    const details = { quantization: "int4, groups of 128", kvCache: "int8", device: "cpu" };
    const served = { id: "scripted", engine, tokenizer, config, details };
    const app = createApp(served, { credentials: { apiKey: options.apiKey }, pageFolder });
    const listener = await listen(app, { host: "127.0.0.1", port: 0 });
    const context = await browser.newContext({
      viewport: { width: options.width ?? 1280, height: 800 },
    });
    const page = await context.newPage();
    const foreign: string[] = [];
    page.on("request", (request) => {
      if (!request.url().startsWith(listener.url) && !request.url().startsWith("data:")) {
        foreign.push(request.url());
      }
    });
    page.on("pageerror", (error) => foreign.push(String(error)));
    try {
      await page.goto(listener.url);
      await body({ page, context, listener, engine, foreign });
      expect(foreign).toEqual([]);
    } finally {
      await context.close();
      await listener.close(0);
    }
  }

  const say = async (page: Page, text: string) => {
    await page.getByLabel("Message", { exact: true }).fill(text);
    await page.keyboard.press("Enter");
  };
  const answers = (page: Page) => page.locator(".message.assistant .text");
  const texts = async (page: Page) =>
    (await answers(page).allTextContents()).map((text) => text.trim());

  test("holds a conversation, keeps it over a reload, and tells the model of it all", async () => {
    await withPage(["It is **five**.", "Nine."], async ({ page, engine }) => {
      await expect
        .poll(() => page.locator("#details").textContent())
        .toContain("int4, groups of 128");
      await say(page, "What is 2 + 3?");
      await expect.poll(() => answers(page).first().innerHTML()).toContain("<strong>five</strong>");
      await say(page, "And 4 more?");
      await expect.poll(() => answers(page).last().textContent()).toContain("Nine.");
      await expect.poll(() => page.locator(".note").last().textContent()).toMatch(/tokens/);
      expect(engine.prompts[1]).toContain("What is 2 + 3?<|im_end|>");
      expect(engine.prompts[1]).toContain("It is **five**.<|im_end|>");
      await page.reload();
      expect(await answers(page).allTextContents()).toEqual(
        ["It is five.", "Nine."].map((text) => expect.stringContaining(text)),
      );
      await page.getByRole("button", { name: "New conversation" }).first().click();
      await say(page, "Another");
      await expect
        .poll(() => page.locator("#conversations .open").allTextContents())
        .toEqual(["Another", "What is 2 + 3?"]);
      await page.getByRole("button", { name: "What is 2 + 3?", exact: true }).click();
      await expect.poll(() => answers(page).count()).toBe(2);
    });
  });

  test("shows what a model writes without running or loading any of it", async () => {
    await withPage([hostile], async ({ page }) => {
      await say(page, "Be evil");
      await expect.poll(() => answers(page).locator("strong").count()).toBe(1);
      await page.waitForTimeout(300);
      expect(await page.title()).not.toContain("broken");
      expect(
        await answers(page).locator("img, script, [style], [onclick], a[href^=javascript]").count(),
      ).toBe(0);
      expect(await answers(page).locator("table td").allTextContents()).toEqual(["1", "2"]);
      expect(await answers(page).locator("pre code").textContent()).toContain(
        "<img src=x onerror=alert(1)>",
      );
    });
  });

  test("stops an answer, keeps what there is, asks again and edits a question", async () => {
    await withPage([long, "Short.", "Edited."], async ({ page, engine }) => {
      await say(page, "Write much");
      await expect.poll(() => answers(page).first().textContent()).toContain("word3 ");
      await page.keyboard.press("Escape");
      await expect.poll(() => page.locator(".note").textContent()).toContain("stopped");
      await expect.poll(() => engine.cancelled).toBe(1);
      await page.reload();
      expect(await answers(page).textContent()).toContain("word3 ");
      await page.getByRole("button", { name: "Retry" }).click();
      await expect.poll(() => texts(page)).toEqual(["Short."]);
      await page.getByRole("button", { name: "Edit" }).click();
      await page.getByLabel("Edited message").fill("Write little");
      await page.keyboard.press("Enter");
      await expect.poll(() => texts(page)).toEqual(["Edited."]);
      expect(engine.prompts.at(-1)).toContain("Write little<|im_end|>");
      expect(engine.prompts.at(-1)).not.toContain("Write much");
    });
  });

  test("uses the settings that were changed, and the model's own after a reset", async () => {
    await withPage(["a", "b"], async ({ page, engine }) => {
      await page.getByRole("button", { name: "Settings", exact: true }).click();
      await page.getByLabel("System prompt").fill("Be brief.");
      await page.getByLabel("Temperature").fill("0.3");
      await page.getByLabel("Seed").fill("7");
      await page.getByRole("button", { name: "Settings", exact: true }).click();
      await say(page, "Hello");
      await expect.poll(() => texts(page)).toEqual(["a"]);
      expect(engine.prompts[0]).toContain("system\nBe brief.<|im_end|>");
      expect(engine.requests[0]?.sampling).toMatchObject({ temperature: 0.3, seed: 7, topP: 0.8 });
      await page.getByRole("button", { name: "Settings", exact: true }).click();
      await page.getByRole("button", { name: "The model's own settings" }).click();
      await say(page, "Again");
      await expect.poll(() => answers(page).count()).toBe(2);
      expect(engine.requests[1]?.sampling.temperature).toBe(1);
    });
  });

  test("asks for a key, and tells of errors in their place", async () => {
    await withPage(
      [],
      async ({ page }) => {
        await page.getByLabel("This server asks for a key.").fill("secret");
        await page.keyboard.press("Enter");
        await expect.poll(() => page.locator("#model").textContent()).toBe("scripted");
        await say(page, "word ".repeat(3000));
        await expect
          .poll(() => page.locator(".note.wrong").textContent())
          .toMatch(/^failed: .*tokens/);
      },
      { apiKey: "secret" },
    );
  });

  test("fits a phone: the list is a drawer and nothing is wider than the screen", async () => {
    await withPage(
      [hostile],
      async ({ page }) => {
        await say(page, "Be evil");
        await expect.poll(() => answers(page).locator("strong").count()).toBe(1);
        expect(await page.locator("#sidebar").isVisible()).toBe(false);
        await page.getByRole("button", { name: "Conversations" }).click();
        expect(await page.locator("#sidebar").isVisible()).toBe(true);
        await page.keyboard.press("Escape");
        expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(
          390,
        );
      },
      { width: 390 },
    );
  });
});

// Pictures of Dagster's UI as `make ui` shows it: node tools/pictures.mjs ADDRESS FOLDER PATH...
// Paths of this machine are written as ~ in them. See tools/pictures.sh.
import { chromium } from "playwright-core";

const [address, folder, ...here] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const page = await browser.newPage({ viewport: { width: 1200, height: 700 }, deviceScaleFactor: 1 });
page.setDefaultTimeout(60000);

const query = async (text) => {
  const reply = await fetch(`${address}/graphql`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ query: text }),
  });
  return (await reply.json()).data;
};
const show = async (path, words, name, then = async () => {}) => {
  await page.goto(`${address}${path}`, { waitUntil: "domcontentloaded" });
  for (const word of words) await page.getByText(word).first().waitFor();
  await then();
  await page.waitForTimeout(3000); // plots and graphs are drawn after their texts
  await page.evaluate((paths) => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) for (const path of paths) texts.currentNode.nodeValue = texts.currentNode.nodeValue.replaceAll(path, "~");
  }, here);
  await page.screenshot({ path: `${folder}/${name}.png` });
};

const { runsOrError } = await query("{ runsOrError { ... on Runs { results { runId status } } } }");
const failed = runsOrError.results.find((run) => run.status === "FAILURE").runId;
await show("/asset-groups", ["city_summary", "readings"], "graph");
await show("/assets/readings?view=overview", ["rows"], "numbers", async () => {
  await page.getByText("Plots").first().click();
  await page.getByText("Metadata").first().evaluate((heading) => heading.scrollIntoView());
});
await show(`/runs/${failed}`, ["What to do"], "failure");
await browser.close();

// Opens each page in every scheme and width, and runs axe on it. A violation is a failure.
// usage: node axe.mjs BASE_URL FOLDER_FOR_SCREENSHOTS PATH...
import axe from 'axe-core';
import { chromium } from 'playwright-core';

const [base, screenshots, ...paths] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
let violations = 0;
for (const colorScheme of ['light', 'dark']) {
  for (const width of [360, 1280]) {
    // The policies of the pages forbid every script, also this one.
    const context = await browser.newContext({ colorScheme, viewport: { width, height: 800 }, bypassCSP: true });
    const page = await context.newPage();
    for (const [index, path] of paths.entries()) {
      const foreign = [];
      const note = (request) => request.url().startsWith(base) || foreign.push(request.url());
      page.on('request', note);
      await page.goto(base + path);
      page.off('request', note);
      const closed = await page.$$('details');
      for (const details of closed) await details.evaluate((element) => { element.open = true; });
      await page.evaluate(axe.source);
      const result = await page.evaluate(() => window.axe.run(document));
      const tooWide = await page.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
      if (screenshots) await page.screenshot({ path: `${screenshots}/${index}-${colorScheme}-${width}.png` });
      const where = `${path} (${colorScheme}, ${width})`;
      for (const { id, help, nodes } of result.violations) {
        violations += 1;
        console.error(`pages: ${where}: ${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(' ')}`);
      }
      if (tooWide) {
        violations += 1;
        console.error(`pages: ${where}: is wider than the screen`);
      }
      if (foreign.length > 0) {
        violations += 1;
        console.error(`pages: ${where}: loads ${foreign.join(' ')}`);
      }
    }
    await context.close();
  }
}
await browser.close();
if (violations > 0) process.exit(1);
console.log(`pages: axe found nothing on ${paths.length} pages, in 4 views each`);

// Verifies the deliveries in a file with the standardwebhooks and svix packages, as a receiver would.
import { readFileSync } from "node:fs";
import * as standardwebhooks from "standardwebhooks";
import * as svix from "svix";

const deliveries = JSON.parse(readFileSync(process.argv[2], "utf8"));
const packages = { standardwebhooks, svix };
for (const [name, { Webhook, WebhookVerificationError }] of Object.entries(packages)) {
  for (const { secret, headers, body } of deliveries) {
    const message = new Webhook(secret).verify(body, headers) ?? JSON.parse(body);
    if (message.event !== "account.updated") throw new Error(`${name}: ${body}`);
    try {
      new Webhook(secret).verify(body.replace("hooked", "hacked"), headers);
    } catch (error) {
      if (error instanceof WebhookVerificationError) continue;
      throw error;
    }
    throw new Error(`${name} accepted a body that was tampered with`);
  }
}
console.log(`npm ${Object.keys(packages).join(", ")}: ${deliveries.length} deliveries verified, tampering refused: ok`);

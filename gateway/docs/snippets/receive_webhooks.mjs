// Receives webhooks on port 9000 of this machine, and believes those that are signed with WEBHOOK_SECRET.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const SECRET = process.env.WEBHOOK_SECRET;
const TOLERANCE_S = 5 * 60;

// The event in the body, which is a Buffer. Throws unless it was signed just now, with this secret.
function verify(secret, headers, body) {
  const id = headers["webhook-id"], sentAt = headers["webhook-timestamp"];
  const age = Math.abs(Date.now() / 1000 - Number(sentAt));
  if (!(age <= TOLERANCE_S)) throw new Error("not sent just now");
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const signature = createHmac("sha256", key).update(`${id}.${sentAt}.`).update(body).digest("base64");
  const expected = Buffer.from(`v1,${signature}`);
  const given = String(headers["webhook-signature"]).split(" ").map((one) => Buffer.from(one));
  if (!given.some((one) => one.length === expected.length && timingSafeEqual(one, expected)))
    throw new Error("not signed with this secret");
  return JSON.parse(body);
}

const receiver = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const event = verify(SECRET, request.headers, Buffer.concat(chunks));
    // It may come twice: remember event.id. Slow work belongs after the answer.
    console.log(event.type, event.id);
    response.writeHead(204).end();
  } catch {
    response.writeHead(400).end();
  }
});

receiver.listen(Number(process.env.PORT ?? 9000), "127.0.0.1");

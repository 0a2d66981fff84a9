// Receives webhooks, and believes those that are signed with WEBHOOK_SECRET.
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const SECRET = process.env.WEBHOOK_SECRET;
const PORT = Number(process.env.PORT ?? 9000);
const TOLERANCE_S = 5 * 60;

// The event in the body, a Buffer. Throws unless it was signed just now.
function verify(secret, headers, body) {
  const id = headers["webhook-id"];
  const sentAt = headers["webhook-timestamp"];
  const age = Math.abs(Date.now() / 1000 - Number(sentAt));
  if (!(age <= TOLERANCE_S)) throw new Error("not sent just now");
  const hmac = createHmac("sha256", keyOf(secret));
  hmac.update(`${id}.${sentAt}.`).update(body);
  const expected = Buffer.from(`v1,${hmac.digest("base64")}`);
  const isExpected = (given) =>
    given.length === expected.length && timingSafeEqual(given, expected);
  const signatures = String(headers["webhook-signature"]).split(" ");
  if (!signatures.some((one) => isExpected(Buffer.from(one))))
    throw new Error("not signed with this secret");
  return JSON.parse(body);
}

// What `whsec_` and base64 decode to; of any other secret its characters.
function keyOf(secret) {
  const base64 = /^whsec_((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2,3})?)={0,2}$/;
  const encoded = base64.exec(secret)?.[1];
  return encoded ? Buffer.from(encoded, "base64") : Buffer.from(secret);
}

const receiver = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const event = verify(SECRET, request.headers, Buffer.concat(chunks));
    // It may come twice: remember event.id. Do slow work later.
    console.log(event.type, event.id);
    response.writeHead(204).end();
  } catch (refusal) {
    console.log("refused:", refusal.message);
    response.writeHead(401).end();
  }
});

receiver.listen(PORT, "127.0.0.1");

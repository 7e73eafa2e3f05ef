// One subscription of an official client, from its first message to the block_meta of the last slot.
//
// node client.cjs PACKAGE HOST:PORT '{"request": {...}, "last": SLOT, "list": true, "ping": ID}'
// Prints one line of JSON: counts, Unix times of the first and the last message in ns and, with "list", every
// [slot, signature] of the transactions and blocks, in the order in which they came.
"use strict";

const [name, address, text] = process.argv.slice(2);
const wanted = JSON.parse(text);
const EMPTY = {
  accounts: {}, slots: {}, transactions: {}, transactionsStatus: {}, entry: {}, blocks: {}, blocksMeta: {},
  accountsDataSlice: [],
};
const request = { ...EMPTY, ...wanted.request };
// Of the three only LaserStream takes 64-bit integers as numbers.
if (request.fromSlot !== undefined && name !== "helius-laserstream") request.fromSlot = String(request.fromSlot);
const clockNs = () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));
const seen = { transactions: 0, blocks: 0, pongs: [], listed: [], slots: [] };
let first = null;
let write = null;

let over = false;
function finish(error) {
  if (over) return;
  over = true;
  const found = { ...seen, error: error ? String(error.message ?? error) : null };
  found.first_ns = String(first ?? 0n);
  found.last_ns = String(clockNs());
  process.stdout.write(JSON.stringify(found) + "\n", () => process.exit(error ? 1 : 0));
}

function note(slot, info) {
  seen.transactions += 1;
  if (wanted.list) seen.listed.push([Number(slot), Buffer.from(info.signature).toString("hex"), Number(info.index)]);
}

function take(update) {
  if (update.pong) seen.pongs.push(update.pong.id);
  if (update.transaction) note(update.transaction.slot, update.transaction.transaction);
  if (update.block) {
    seen.blocks += 1;
    for (const info of update.block.transactions) note(update.block.slot, info);
  }
  if (first === null && (update.transaction || update.block)) first = clockNs();
  if (update.blockMeta) {
    seen.slots.push(Number(update.blockMeta.slot));
    if (Number(update.blockMeta.slot) === wanted.last) ended();
  }
  if (update.pong && waiting) finish();
}

// With "ping" the subscription must survive one: the pong is the last thing that is waited for.
let waiting = false;
function ended() {
  if (wanted.ping === undefined) return finish();
  waiting = true;
  write({ ...EMPTY, ping: { id: wanted.ping } });
}

async function yellowstone(Client, connects) {
  const options = connects
    ? { grpcMaxDecodingMessageSize: 1 << 30 }
    : { "grpc.max_receive_message_length": -1 };
  const client = new Client(`http://${address}`, undefined, options);
  if (connects) await client.connect();
  const stream = await client.subscribe();
  stream.on("data", take);
  stream.on("error", finish);
  stream.on("end", () => finish(new Error("the stream ended")));
  write = (message) => stream.write(message);
  write(request);
}

async function laserstream({ subscribe }) {
  const config = { apiKey: "", endpoint: `http://${address}`, maxReconnectAttempts: 0 };
  const handle = await subscribe(config, request, take, finish);
  write = (message) => Promise.resolve(handle.write(message)).catch(finish);
}

const starts = {
  "yellowstone-4": () => yellowstone(require(name).default, false),
  "yellowstone-7": () => yellowstone(require(name).default, true),
  "helius-laserstream": () => laserstream(require(name)),
};
starts[name]().catch(finish);

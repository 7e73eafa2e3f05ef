// A validator's transaction port on another QUIC stack (quiche with BoringSSL), for test_tpu_npm.py.
// argv: folder with the package, key file, certificate file. Writes one JSON line a fact: port, identity (hex), transaction (hex).
import { createHmac, randomBytes, timingSafeEqual, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const [folder, keyFile, certFile] = process.argv.slice(2);
const resolve = createRequire(path.join(folder, 'package.json')).resolve;
const root = path.dirname(resolve('@matrixai/quic/package.json'));
const { QUICServer, events, native } = await import(pathToFileURL(path.join(root, 'dist', 'index.js')).href);
const { default: Logger, LogLevel } = await import(
  pathToFileURL(path.join(folder, 'node_modules', '@matrixai', 'logger', 'dist', 'index.js')).href
);

const tell = (fact) => process.stdout.write(JSON.stringify(fact) + '\n');
const mac = (key, data) => createHmac('sha256', Buffer.from(key)).update(Buffer.from(data)).digest();

async function verifyCallback(certificates) {
  // As validators do: one certificate, whose key is the peer; whoever signed it says nothing.
  if (certificates.length !== 1) return native.CryptoError.BadCertificate;
  const key = new X509Certificate(Buffer.from(certificates[0])).publicKey;
  if (key.asymmetricKeyType !== 'ed25519') return native.CryptoError.UnsupportedCertificate;
  tell({ identity: Buffer.from(key.export({ format: 'jwk' }).x, 'base64url').toString('hex') });
  return undefined;
}

async function take(stream) {
  const chunks = [];
  for await (const chunk of stream.readable) chunks.push(Buffer.from(chunk));
  tell({ transaction: Buffer.concat(chunks).toString('hex') });
}

const server = new QUICServer({
  crypto: {
    key: randomBytes(32),
    ops: {
      sign: async (key, data) => new Uint8Array(mac(key, data)).buffer,
      verify: async (key, data, signature) => timingSafeEqual(mac(key, data), Buffer.from(signature)),
    },
  },
  config: {
    key: readFileSync(keyFile, 'utf8'),
    cert: readFileSync(certFile, 'utf8'),
    verifyPeer: true,
    verifyCallback,
    applicationProtos: ['solana-tpu'],
    sigalgs: 'ed25519',
    maxIdleTimeout: 30_000,
    initialMaxStreamDataUni: 1232,
    initialMaxStreamsBidi: 0,
    initialMaxStreamsUni: 128,
  },
  logger: new Logger('peer', LogLevel.SILENT),
});
server.addEventListener(events.EventQUICServerConnection.name, ({ detail: connection }) => {
  connection.addEventListener(events.EventQUICConnectionStream.name, ({ detail: stream }) => void take(stream));
});
await server.start({ host: '127.0.0.1', port: 0 });
tell({ port: server.port });
process.stdin.on('end', () => process.exit(0)).resume();

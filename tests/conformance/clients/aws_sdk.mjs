// AWS SDK for JavaScript, version 3, on Node.js: checksums by default, streaming uploads with trailers, parallel parts.
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, readFileSync, readdirSync } from "node:fs";
import { Agent } from "node:https";
import { join, relative } from "node:path";
import { Readable } from "node:stream";
import { text, buffer } from "node:stream/consumers";
import {
  CopyObjectCommand, CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, GetObjectCommand, HeadObjectCommand, ListObjectsV2Command,
  PutObjectCommand, PutObjectTaggingCommand, GetObjectTaggingCommand, S3Client, paginateListObjectsV2,
} from "@aws-sdk/client-s3";
import { Upload } from "@aws-sdk/lib-storage";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { NodeHttpHandler } from "@smithy/node-http-handler";

const { S3_URL, S3_ACCESS_KEY, S3_SECRET_KEY, S3_REGION, S3_CA, S3_STYLE, S3_BUCKET: Bucket, S3_FILES } = process.env;
const agent = S3_CA ? new Agent({ ca: readFileSync(S3_CA), keepAlive: true }) : undefined;
const s3 = new S3Client({
  endpoint: S3_URL, region: S3_REGION, forcePathStyle: S3_STYLE === "path", maxAttempts: 2,
  credentials: { accessKeyId: S3_ACCESS_KEY, secretAccessKey: S3_SECRET_KEY },
  ...(agent ? { requestHandler: new NodeHttpHandler({ httpsAgent: agent }) } : {}),
});
const read = async (Key, more = {}) => buffer((await s3.send(new GetObjectCommand({ Bucket, Key, ...more }))).Body);
const same = (left, right, what) => { if (Buffer.compare(Buffer.from(left), Buffer.from(right))) throw new Error(`other bytes: ${what}`); };
const must = (condition, what) => { if (!condition) throw new Error(what); };
const refused = async (promise, name) => {
  try { await promise; } catch (error) { must(error.name === name, `${error.name} instead of ${name}`); return; }
  throw new Error(`${name} was expected`);
};
const names = readdirSync(S3_FILES, { recursive: true, withFileTypes: true }).filter((e) => e.isFile())
  .map((e) => relative(S3_FILES, join(e.path, e.name)));

const scenarios = {
  async files() {
    await s3.send(new CreateBucketCommand({ Bucket }));
    for (const Key of names) {
      await s3.send(new PutObjectCommand({ Bucket, Key, Body: readFileSync(join(S3_FILES, Key)) }));
      same(await read(Key), readFileSync(join(S3_FILES, Key)), Key);
    }
  },
  async "streamed uploads"() {
    await new Upload({ client: s3, params: { Bucket, Key: "streamed", Body: createReadStream(join(S3_FILES, "big.bin")) }, partSize: 5 << 20 }).done();
    same(await read("streamed"), readFileSync(join(S3_FILES, "big.bin")), "streamed");
    const small = randomBytes(100_000);
    await s3.send(new PutObjectCommand({ Bucket, Key: "small", Body: Readable.from([small]), ContentLength: small.length }));
    same(await read("small"), small, "small");
  },
  async checksums() {
    for (const ChecksumAlgorithm of ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"]) {
      await s3.send(new PutObjectCommand({ Bucket, Key: "sum", Body: "data", ChecksumAlgorithm }));
      const head = await s3.send(new HeadObjectCommand({ Bucket, Key: "sum", ChecksumMode: "ENABLED" }));
      must(head[`Checksum${ChecksumAlgorithm}`], `no ${ChecksumAlgorithm}`);
    }
    const digest = createHash("sha256").update("data").digest("base64");
    await refused(s3.send(new PutObjectCommand({ Bucket, Key: "sum", Body: "other", ChecksumSHA256: digest })), "BadDigest");
  },
  async conditional() {
    const { ETag } = await s3.send(new PutObjectCommand({ Bucket, Key: "c", Body: "1" }));
    await refused(s3.send(new PutObjectCommand({ Bucket, Key: "c", Body: "2", IfNoneMatch: "*" })), "PreconditionFailed");
    await s3.send(new PutObjectCommand({ Bucket, Key: "c", Body: "3", IfMatch: ETag }));
    await refused(s3.send(new PutObjectCommand({ Bucket, Key: "c", Body: "4", IfMatch: ETag })), "PreconditionFailed");
  },
  async "copies and tags"() {
    await s3.send(new CopyObjectCommand({ Bucket, Key: "copy", CopySource: encodeURIComponent(`${Bucket}/a+b&c=d.txt`) }));
    must((await read("copy")).toString() === "hello", "other bytes");
    await s3.send(new PutObjectTaggingCommand({ Bucket, Key: "copy", Tagging: { TagSet: [{ Key: "a", Value: "ü" }] } }));
    must((await s3.send(new GetObjectTaggingCommand({ Bucket, Key: "copy" }))).TagSet[0].Value === "ü", "other tags");
  },
  async presigned() {
    const url = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key: "copy" }), { expiresIn: 60 });
    if (agent) {
      const { get } = await import("node:https");
      const body = await new Promise((done, fail) => get(url, { agent }, (answer) => done(text(answer))).on("error", fail));
      must(body === "hello", body);
    } else must((await (await fetch(url)).text()) === "hello", "other bytes");
  },
  async ranges() {
    const big = readFileSync(join(S3_FILES, "big.bin"));
    same(await read("streamed", { Range: "bytes=1000-1999" }), big.subarray(1000, 2000), "range");
    same(await read("streamed", { Range: "bytes=-10" }), big.subarray(big.length - 10), "suffix");
  },
  async "clean up"() {
    await refused(s3.send(new GetObjectCommand({ Bucket, Key: "missing" })), "NoSuchKey");
    for await (const page of paginateListObjectsV2({ client: s3, pageSize: 3 }, { Bucket })) {
      await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: page.Contents.map(({ Key }) => ({ Key })) } }));
    }
    must(!(await s3.send(new ListObjectsV2Command({ Bucket }))).KeyCount, "not empty");
    await s3.send(new DeleteBucketCommand({ Bucket }));
  },
};
for (const [scenario, play] of Object.entries(scenarios)) {
  let line = { scenario, result: "ok" };
  try { await play(); } catch (error) { line = { scenario, result: "failed", detail: `${error.name}: ${error.message}`.slice(0, 600) }; }
  console.log("@@ " + JSON.stringify(line));
}
process.exit(0);

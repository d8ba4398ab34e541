// Run exported files in ONNX Runtime Web (WebAssembly), as a browser does.
// Usage: node web.mjs NODE_MODULES FILE.onnx CASE.json ...: prints the largest difference of each output.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [modules, ...rest] = process.argv.slice(2);
const ort = createRequire(join(modules, "x.js"))("onnxruntime-web");
ort.env.wasm.numThreads = 1;

const ARRAYS = { uint8: Uint8Array, int32: Int32Array, float32: Float32Array, int64: BigInt64Array };

function tensor({ dtype, shape, data }) {
  if (dtype === "str") return new ort.Tensor("string", data, shape);
  return new ort.Tensor(dtype, ARRAYS[dtype].from(data), shape);
}

function difference(found, wanted) {
  if (found.type === "float32") return Math.max(...wanted.map((w, i) => Math.abs(w - found.data[i])));
  return wanted.filter((w, i) => String(w) !== String(found.data[i])).length;
}

const differences = [];
for (let i = 0; i < rest.length; i += 2) {
  const session = await ort.InferenceSession.create(readFileSync(rest[i]));
  const test = JSON.parse(readFileSync(rest[i + 1], "utf8"));
  const feeds = Object.fromEntries(Object.entries(test.feeds).map(([name, one]) => [name, tensor(one)]));
  const found = await session.run(feeds);
  const pairs = Object.entries(test.outputs).map(([name, wanted]) => [name, difference(found[name], wanted)]);
  differences.push(Object.fromEntries(pairs));
}
console.log(JSON.stringify({ onnxruntime: ort.env.versions.web, differences }));

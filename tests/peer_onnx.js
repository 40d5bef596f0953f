/* ONNX Runtime's side of tests/bench_teacher.c: the tower of a folder (tests/peertower.h), written as an ONNX model by onnx_tower.js when
 * the first round is asked for. A line asks for a round, "CASE f32|int8 THREADS"; the answer is seconds: the processor's with one thread
 * for a batch, the clock's for one input alone. "cosine f32|int8 THREADS" is answered by the least cosine to what clipstill made of the
 * same inputs with the same weights in f32: that both do the same work.
 *
 * The package onnxruntime-node is looked for in node_modules/ of $CLIPSTILL_ORT, of build/ and of the folders above. */
'use strict';
const path = require('path');
const readline = require('readline');
const { Weights, writeTower } = require('./onnx_tower.js');

const INSTALL = 'npm install --ignore-scripts --prefix build onnxruntime-node';
const PAD = 1;

function load() {
    const paths = [process.env.CLIPSTILL_ORT, 'build'].filter(Boolean).map((p) => path.resolve(p));
    try {
        return require(require.resolve('onnxruntime-node', { paths }));
    } catch (e) {
        console.log(`absent: ${e.code === 'MODULE_NOT_FOUND' ? INSTALL : e.message.split('\n')[0].slice(0, 120)}`);
        process.exit();
    }
}

/* Pixels (n, S, S, 3) as tensors (batch, 3, S, S). */
function pictures(w, ort) {
    const side = w.config.image_size, area = side * side, from = w.values('bench.input', Float32Array);
    const to = new Float32Array(from.length), n = from.length / (3 * area);
    for (let i = 0; i < to.length; i++) {
        const picture = Math.floor(i / (3 * area)), channel = Math.floor(i / area) % 3;
        to[i] = from[3 * (picture * area + i % area) + channel];
    }
    const take = (k) => new ort.Tensor('float32', to.subarray(0, k * 3 * area), [k, 3, side, side]);
    return { pictures: [take(n)], picture: [take(1)], all: [take(n)] };
}

/* Texts padded to `tokens`, or eight at a time, in order of length, to the longest of them. */
function texts(w, ort) {
    const ids = w.values('bench.input', Int32Array), offsets = w.values('bench.offsets', Int32Array);
    const list = Array.from(offsets.subarray(1), (end, i) => ids.subarray(offsets[i], end));
    const batch = (some, tokens) => {
        const to = new BigInt64Array(some.length * tokens).fill(BigInt(PAD));
        some.forEach((text, i) => text.forEach((id, k) => { to[i * tokens + k] = BigInt(id); }));
        return new ort.Tensor('int64', to, [some.length, tokens]);
    };
    const sorted = [...list].sort((a, b) => a.length - b.length), buckets = [];
    for (let i = 0; i < sorted.length; i += 8) buckets.push(sorted.slice(i, i + 8));
    return {
        padded: [batch(list, w.config.max_position_embeddings - 2)],
        bucketed: buckets.map((b) => batch(b, b[b.length - 1].length)),
        text: [batch(list.slice(0, 1), list[0].length)],
        all: list.map((text) => batch([text], text.length)),
    };
}

/* The least cosine between rows. */
function leastCosine(a, b, dim) {
    let least = 1;
    for (let row = 0; row < a.length; row += dim) {
        let ab = 0, aa = 0, bb = 0;
        for (let i = row; i < row + dim; i++) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
        least = Math.min(least, ab / Math.sqrt(aa * bb));
    }
    return least;
}

class Peer {
    constructor(ort, folder) {
        this.ort = ort;
        this.w = new Weights(folder);
        this.inputs = this.w.isText ? texts(this.w, ort) : pictures(this.w, ort);
        this.files = new Map();
        this.sessions = new Map();
    }

    /* Kept, those of another number of threads excepted: each holds the weights packed anew. */
    async session(kind, threads) {
        if (this.threads !== threads) {
            for (const s of this.sessions.values()) await s.release();
            this.sessions.clear();
            this.threads = threads;
        }
        if (!this.files.has(kind)) this.files.set(kind, writeTower(this.w, kind));
        if (!this.sessions.has(kind)) {
            const options = { intraOpNumThreads: threads, interOpNumThreads: 1, graphOptimizationLevel: 'all' };
            this.sessions.set(kind, await this.ort.InferenceSession.create(this.files.get(kind), options));
        }
        return this.sessions.get(kind);
    }

    async run(session, inputs) {
        const out = [];
        for (const input of inputs) out.push((await session.run({ input }))[session.outputNames[0]].data);
        return out;
    }

    async cosine(session) {
        const out = await this.run(session, this.inputs.all), expected = this.w.values('bench.output', Float32Array);
        return leastCosine(out.flatMap((x) => [...x]), expected, this.w.place('bench.output').shape[1]);
    }

    async answer(name, kind, threads) {
        const session = await this.session(kind, threads);
        if (name === 'cosine') return this.cosine(session);
        const byClock = name === 'picture' || name === 'text', used = process.cpuUsage(), start = performance.now();
        await this.run(session, this.inputs[name]);
        const { user, system } = process.cpuUsage(used);
        return byClock ? (performance.now() - start) / 1e3 : (user + system) / 1e6;
    }
}

async function main() {
    const ort = load();
    ort.env.logLevel = 'error';
    console.log(`ready ${ort.env.versions.node || ort.env.versions.common}`);
    let peer;
    for await (const line of readline.createInterface({ input: process.stdin })) {
        const [name, kind, threads] = line.split(' ');
        peer = peer || new Peer(ort, process.argv[2]);
        console.log(await peer.answer(name, kind, Number(threads)));
    }
}

main();

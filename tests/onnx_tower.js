/* A tower's folder (tests/peertower.h) as an ONNX model: ViT or XLM-R with AltCLIP's head, Hugging Face's names.
 *
 *     const w = new Weights(folder);
 *     const file = writeTower(w, 'int8');    // FOLDER/int8.onnx, its weights in int8.bin; 'f32' points into model.safetensors
 *
 * The graph is what an export of Hugging Face's classes is after ONNX Runtime's own optimiser for transformers: attention is one node,
 * MultiHeadAttention. (Written out in MatMul, Softmax and Transpose it took as long, within 2%; so did Gemm for MatMul and Add.) No
 * attention mask: texts of unequal length in one batch are computed as if their padding were text, which costs the peer nothing.
 * int8 is what quantize_dynamic writes: DynamicQuantizeLinear, MatMulInteger with symmetric weights and a scale an output channel, Cast, Mul
 * (which ONNX Runtime fuses into DynamicQuantizeMatMul); for the matrices of the blocks, as in clipstill. */
'use strict';
const fs = require('fs');
const path = require('path');
const { Graph, FLOAT, INT8, INT64 } = require('./onnx_graph.js');

const FILE = 'model.safetensors';

class Weights {
    constructor(folder) {
        const config = JSON.parse(fs.readFileSync(path.join(folder, 'config.json')));
        this.folder = folder;
        this.isText = !config.vision_config;
        this.config = config.vision_config || config.text_config;
        if (this.config.hidden_act !== 'gelu') throw Error(`hidden_act is ${this.config.hidden_act}, expected gelu`);
        this.fd = fs.openSync(path.join(folder, FILE));
        const size = this.read(0, 8).readBigUInt64LE();
        this.table = JSON.parse(this.read(8, Number(size)));
        this.start = 8 + Number(size);
    }

    read(at, n) {
        const bytes = Buffer.from(new ArrayBuffer(n));
        if (fs.readSync(this.fd, bytes, 0, n, at) !== n) throw Error(`${FILE} is shorter than it says`);
        return bytes;
    }

    has(name) {
        return name in this.table;
    }

    /* {shape, at, n}: place in the file. */
    place(name) {
        const { shape, data_offsets: [from, to] } = this.table[name];
        return { shape, at: this.start + from, n: to - from };
    }

    values(name, Type) {
        const { at, n } = this.place(name);
        return new Type(this.read(at, n).buffer);
    }
}

/* Rows of k values to int8: the largest of a row becomes 127. */
function quantise(x, k) {
    const q = new Int8Array(x.length), scales = new Float32Array(x.length / k);
    for (let row = 0, at = 0; row < scales.length; row++, at += k) {
        let most = 0;
        for (let i = at; i < at + k; i++) most = Math.max(most, x[i], -x[i]);
        const factor = 127 / most;
        scales[row] = most / 127;
        for (let i = at; i < at + k; i++) q[i] = ((x[i] * factor + 128.5) | 0) - 128;
    }
    return { q, scales };
}

class Tower {
    constructor(w, kind) {
        this.w = w;
        this.kind = kind;
        this.g = new Graph();
        this.quantised = new Map();
        this.binary = kind === 'int8' ? fs.openSync(path.join(w.folder, 'int8.bin'), 'w') : null;
        this.written = 0;
    }

    /* A tensor of the folder. */
    weight(name) {
        const { shape, at, n } = this.w.place(name);
        return this.g.external(name, FLOAT, shape, FILE, at, n);
    }

    /* [out, in] as it stands in a file; ONNX Runtime turns it once, when the session is made. */
    turned(weight) {
        return this.g.node('Transpose', [weight], { perm: [1, 0] });
    }

    linear(x, name) {
        const inBlock = name.includes('encoder.');
        const y = this.kind === 'int8' && inBlock ? this.product8(x, `${name}.weight`)
            : this.g.node('MatMul', [x, this.turned(this.weight(`${name}.weight`))]);
        return this.w.has(`${name}.bias`) ? this.g.node('Add', [y, this.weight(`${name}.bias`)]) : y;
    }

    product8(x, name) {
        const { g } = this, { shape } = this.w.place(name);
        const { q, scales } = quantise(this.w.values(name, Float32Array), shape[1]);
        const weight = g.external(name, INT8, shape, 'int8.bin', this.written, q.length);
        this.written += fs.writeSync(this.binary, q);
        if (!this.quantised.has(x)) this.quantised.set(x, g.node('DynamicQuantizeLinear', [x], {}, 3));
        const [x8, scale, zero] = this.quantised.get(x);
        const sums = g.node('Cast', [g.node('MatMulInteger', [x8, this.turned(weight), zero])], { to: FLOAT });
        return g.node('Mul', [sums, g.node('Mul', [scale, g.floats(scales)])]);
    }

    norm(x, name) {
        return this.g.node('LayerNormalization', [x, this.weight(`${name}.weight`), this.weight(`${name}.bias`)],
            { epsilon: this.w.config.layer_norm_eps });
    }

    attention(x, names, out) {
        const qkv = names.map((name) => this.linear(x, name));
        return this.linear(this.g.node('MultiHeadAttention', qkv, { num_heads: this.w.config.num_attention_heads }), out);
    }

    mlp(x, first, second) {
        return this.linear(this.g.node('Gelu', [this.linear(x, first)]), second);
    }

    add(a, b) {
        return this.g.node('Add', [a, b]);
    }

    /* Row 0 of every sequence: (batch, 1, width). */
    first(x) {
        return this.g.node('Gather', [x, this.g.ints(0)], { axis: 1 });
    }

    vit() {
        const { g } = this, c = this.w.config, e = 'vision_model.embeddings.', side = c.image_size, p = c.patch_size;
        const n = Math.floor(side / p) ** 2, batch = g.node('Slice', [g.node('Shape', ['input']), g.ints(0), g.ints(1)]);
        let x = g.node('Conv', ['input', this.weight(`${e}patch_embedding.weight`)], { kernel_shape: [p, p], strides: [p, p] });
        x = g.node('Transpose', [g.node('Reshape', [x, g.ints(0, 0, n)])], { perm: [0, 2, 1] });
        const shape = g.node('Concat', [batch, g.ints(1, c.hidden_size)], { axis: 0 });
        x = g.node('Concat', [g.node('Expand', [this.weight(`${e}class_embedding`), shape]), x], { axis: 1 });
        x = this.norm(this.add(x, this.weight(`${e}position_embedding.weight`)), 'vision_model.pre_layrnorm');
        for (let i = 0; i < c.num_hidden_layers; i++) {
            const b = `vision_model.encoder.layers.${i}.`, qkv = ['q', 'k', 'v'].map((s) => `${b}self_attn.${s}_proj`);
            x = this.add(x, this.attention(this.norm(x, `${b}layer_norm1`), qkv, `${b}self_attn.out_proj`));
            x = this.add(x, this.mlp(this.norm(x, `${b}layer_norm2`), `${b}mlp.fc1`, `${b}mlp.fc2`));
        }
        return this.linear(this.norm(this.first(x), 'vision_model.post_layernorm'), 'visual_projection');
    }

    xlmr() {
        const { g } = this, c = this.w.config, e = 'text_model.roberta.embeddings.';
        const tokens = g.node('Slice', [g.node('Shape', ['input']), g.ints(1), g.ints(2)]);
        const end = this.add(tokens, g.ints(2)); /* positions start at 2 */
        let x = g.node('Gather', [this.weight(`${e}word_embeddings.weight`), 'input']);
        x = this.add(x, this.weight(`${e}token_type_embeddings.weight`));
        x = this.add(x, g.node('Slice', [this.weight(`${e}position_embeddings.weight`), g.ints(2), end, g.ints(0)]));
        x = this.norm(x, `${e}LayerNorm`);
        for (let i = 0; i < c.num_hidden_layers; i++) {
            const b = `text_model.roberta.encoder.layer.${i}.`, qkv = ['query', 'key', 'value'].map((s) => `${b}attention.self.${s}`);
            x = this.norm(this.add(x, this.attention(x, qkv, `${b}attention.output.dense`)), `${b}attention.output.LayerNorm`);
            x = this.norm(this.add(x, this.mlp(x, `${b}intermediate.dense`, `${b}output.dense`)), `${b}output.LayerNorm`);
        }
        return this.linear(this.linear(this.norm(this.first(x), 'text_model.pre_LN'), 'text_model.transformation'), 'text_projection');
    }
}

/* kind: 'f32' or 'int8'. The model has one input, `input`: pixels (batch, 3, S, S) or ids (batch, tokens). */
function writeTower(w, kind) {
    const t = new Tower(w, kind), side = w.config.image_size, file = path.join(w.folder, `${kind}.onnx`);
    const y = w.isText ? t.xlmr() : t.vit();
    const input = w.isText ? ['input', INT64, ['batch', 'tokens']] : ['input', FLOAT, ['batch', 3, side, side]];
    fs.writeFileSync(file, t.g.model([input], [[y, FLOAT, ['batch', 1, w.place('bench.output').shape[1]]]]));
    if (t.binary !== null) fs.closeSync(t.binary);
    return file;
}

module.exports = { Weights, writeTower };

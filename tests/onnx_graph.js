/* Writes ONNX models without a package: of onnx.proto only the fields that a graph with its weights in other files has.
 *
 *     const g = new Graph();
 *     const w = g.external('w', FLOAT, [8, 4], 'weights.bin', 64, 128);    // bytes 64 to 192 of a file beside the model
 *     const y = g.node('Add', [g.node('MatMul', ['x', w]), g.floats([0.5])], {}); // the name of its output
 *     fs.writeFileSync(file, g.model([['x', FLOAT, ['batch', 8]]], [[y, FLOAT, ['batch', 4]]]));
 *
 * Tensors are named by strings. Integers are attributes as such, other numbers as floats. */
'use strict';

const FLOAT = 1, INT8 = 3, INT64 = 7; /* TensorProto.DataType */
const CONTRIBUTED = new Set(['MultiHeadAttention']); /* of domain com.microsoft */

/* Protobuf: a number is a varint, anything else has a length. */
function varint(n) {
    const bytes = [];
    for (; n > 127; n = Math.floor(n / 128)) bytes.push(n % 128 | 128);
    return Buffer.from([...bytes, n]);
}

function field(id, value) {
    if (typeof value === 'number') return Buffer.concat([varint(id * 8), varint(value)]);
    const bytes = Buffer.from(value);
    return Buffer.concat([varint(id * 8 + 2), varint(bytes.length), bytes]);
}

const message = (...fields) => Buffer.concat(fields.flat());
const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);

/* AttributeProto: name, value, type. */
function attribute([name, v]) {
    const f = field(1, name);
    if (Array.isArray(v)) return message(f, v.map((x) => field(8, x)), field(20, 7));
    if (Number.isInteger(v)) return message(f, field(3, v), field(20, 2));
    return message(f, varint(2 * 8 + 5), bytesOf(Float32Array.of(v)), field(20, 1));
}

/* ValueInfoProto: a dimension is a number or a name. */
function valueInfo([name, type, dims]) {
    const shape = dims.map((d) => field(1, field(typeof d === 'number' ? 1 : 2, d)));
    return message(field(1, name), field(2, field(1, message(field(1, type), field(2, message(shape))))));
}

class Graph {
    constructor() {
        this.nodes = [];
        this.tensors = new Map(); /* by name: TensorProto */
    }

    /* One output: its name. Several: an array of names. An input '' is left out. */
    node(op, inputs, attributes = {}, outputs = 1) {
        const names = Array.from({ length: outputs }, (_, i) => `${op}.${this.nodes.length}.${i}`);
        this.nodes.push(message(inputs.map((x) => field(1, x)), names.map((x) => field(2, x)), field(3, names[0]), field(4, op),
            Object.entries(attributes).map((a) => field(5, attribute(a))), field(7, CONTRIBUTED.has(op) ? 'com.microsoft' : '')));
        return outputs === 1 ? names[0] : names;
    }

    tensor(name, type, dims, ...fields) {
        this.tensors.set(name, message(dims.map((d) => field(1, d)), field(2, type), field(8, name), fields));
        return name;
    }

    external(name, type, dims, file, offset, length) {
        const entry = (key, value) => field(13, message(field(1, key), field(2, String(value))));
        return this.tensor(name, type, dims, entry('location', file), entry('offset', offset), entry('length', length), field(14, 1));
    }

    ints(...values) {
        return this.tensor(`ints.${values}`, INT64, [values.length], field(9, bytesOf(BigInt64Array.from(values.map(BigInt)))));
    }

    floats(values) {
        return this.tensor(`floats.${this.tensors.size}`, FLOAT, [values.length], field(9, bytesOf(Float32Array.from(values))));
    }

    /* inputs, outputs: [name, type, dims]. */
    model(inputs, outputs) {
        const opset = (domain, version) => field(8, message(field(1, domain), field(2, version)));
        const graph = message(this.nodes.map((x) => field(1, x)), field(2, 'tower'), [...this.tensors.values()].map((x) => field(5, x)),
            inputs.map((x) => field(11, valueInfo(x))), outputs.map((x) => field(12, valueInfo(x))));
        return message(field(1, 9), opset('', 20), opset('com.microsoft', 1), field(7, graph));
    }
}

module.exports = { Graph, FLOAT, INT8, INT64 };

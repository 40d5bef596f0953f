/* Every byte on disk, in short; store/FORMAT.md is the whole specification, with worked examples.
 *
 * Numbers in values are little-endian; numbers in keys are big-endian, so that the byte order of
 * keys is the order of numbers. "sum" is the record's checksum: the first 8 bytes, as u64, of
 * SHA-256(table u8, key, value without sum), where table is the table's index below: a record can
 * neither change nor stand under another key or in another table.
 *
 * CACHE/corpus: one LMDB environment, version FORMAT_CORPUS_VERSION, with these named tables:
 *
 *   0 meta          "format"          -> "clipstill corpus" (16 bytes), u32 version, sum
 *                   "caption_rule"    -> how captions are normalised ("nfkc-space-1"), sum; absent:
 *                                     "nfc-space-1"
 *                   "table:" + name   -> u64 records, u64 set digest, u64 value bytes (without
 *                                     sums), sum
 *                   "classes"         -> the class list as JSON text, sum; absent when there is none
 *   1 images        u32 number        -> key[32], u32 width_px, u32 height_px, u32 n_bytes, u8
 *                                     format, u8 orientation, u8 flags, u8 n_warnings, u64 hash and
 *                                     u8[8] colour of its likeness, sum; a reduced image has before
 *                                     the sum: stored_key[32], u32 width_px, u32 height_px, u8
 *                                     format of the file as it came. flags: 1 ICC profile, 2
 *                                     reduced, 4 the likeness is known
 *   2 image_bytes   u32 number        -> the file's bytes, and nothing else: the image's key (its
 *                                     stored_key when it is reduced) is their checksum (no record
 *                                     for an image without bytes)
 *   3 image_keys    key[32]           -> u32 number, sum
 *   4 captions      u32 number        -> key[32], normalised text, sum
 *   5 caption_keys  key[32]           -> u32 number, sum
 *   6 pairs         u32 image, u32 caption, u16 language, u16 source
 *                                     -> f32 weight, u16 label (0xffff: none), u8 split, u8
 *                                     has_original, original text, sum
 *   7 names         u8 kind, u16 id   -> name, sum
 *   8 ids           u16 source, SHA-256(id)[32] -> image key[32], id, sum
 *   9 rejects       u64 arrival       -> JSON object: source, line, byte_offset, member, reason,
 *                                     message, record; sum
 *  10 reject_keys   SHA-256(source NUL reason NUL record NUL u64 line)[32] -> u64 arrival, sum
 *
 * CACHE/features/<set>: one LMDB environment, version FEATURESET_FORMAT (store/featureset.h), with
 * two tables:
 *
 *   0 blocks        u32 view, u32 block -> up to 256 vectors, drawn in store/block.h; the checksum
 *                   is its last 8 bytes
 *   1 meta          "format"            -> u32 version
 *                   "spec"              -> JSON: tap, tower, dim, grid, storage
 *                   "fingerprint", "replay" -> canonical JSON
 *                   "tokenizer"         -> the tokenizer's file; empty when there is none
 *                   "counts"            -> u64 blocks, u64 set digest, then u64 vectors of view 0,
 *                                       1, ...
 *                   "accepted"          -> JSON: vectors in other numerics; absent when there are
 *                                       none
 *                   each value followed by u64: digest_short(key) xor digest_short(value)
 *
 * Version 1 of the corpus is version 2 but for images, which end behind their orientation. Either kind
 * of image record is read. Version 2 has no tombstones. A writer that opens a corpus of an older version
 * makes it one of version 3.
 *
 * A tombstone is a record of images or captions that is its sum alone: the number was forgotten, and
 * is never given again. Its key leads to it no more; it has no bytes, no pair, no id.
 *
 * A set digest is the wrapping sum of the table's record checksums (for image_bytes: of the first 8
 * bytes of the digests of the bytes). Numbers are dense, from 0, in order of arrival. The set digest and
 * counts of all tables but meta are written in the same transaction as the records they speak of.
 */
#ifndef STORE_FORMAT_H
#define STORE_FORMAT_H

#define FORMAT_CORPUS_MAGIC "clipstill corpus" /* 16 bytes, without the NUL */
#define FORMAT_CORPUS_VERSION 3
#define FORMAT_CORPUS_OLDEST 1 /* that is still read */

#endif

/* WebP to RGB; see webp.h. As in Pillow, the first frame of an animation counts, placed on a canvas
 * of zeros; alpha is dropped, so that transparent pixels keep the colour they are stored with. The
 * demuxer refuses a file that is shorter than its RIFF header says. */
#include "ingest/webp.h"

#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>

#include "ingest/exif.h"

#define MAX_SIDE 16383 /* of one frame, by the format */

static int decode(const WebPDemuxer *demux, WebPIterator *frame,
                  const struct picture_limits *limits, struct picture *p, struct error *err)
{
    uint32_t width = WebPDemuxGetI(demux, WEBP_FF_CANVAS_WIDTH);
    uint32_t height = WebPDemuxGetI(demux, WEBP_FF_CANVAS_HEIGHT);
    int rc = picture_check(p, width, height, limits, err);
    if (rc == 0) rc = picture_allocate(p, width, height, err);
    if (rc < 0) return rc;
    if (!WebPDemuxGetFrame(demux, 1, frame))
        return picture_refuse(p, "truncated", err, "the WebP holds no complete picture");
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return picture_refuse(p, "broken-webp", err,
                              "libwebp is of another version than its header");
    VP8StatusCode code = WebPGetFeatures(frame->fragment.bytes, frame->fragment.size,
                                         &config.input);
    /* the frame's own header may differ from the container's: what is written must lie on the canvas */
    if (code == VP8_STATUS_OK &&
        (config.input.width != frame->width || config.input.height != frame->height ||
         frame->width < 1 || frame->height < 1 || frame->width > MAX_SIDE ||
         frame->height > MAX_SIDE || frame->x_offset < 0 || frame->y_offset < 0 ||
         (uint32_t)frame->x_offset + (uint32_t)frame->width > p->width_px ||
         (uint32_t)frame->y_offset + (uint32_t)frame->height > p->height_px))
        return picture_refuse(p, "broken-webp", err, "broken WebP: a frame outside its canvas");
    size_t stride = 3 * (size_t)p->width_px;
    if ((uint32_t)frame->width < p->width_px || (uint32_t)frame->height < p->height_px)
        memset(p->rgb, 0, stride * p->height_px);
    config.output.colorspace = MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = p->rgb + (size_t)frame->y_offset * stride +
                                3 * (size_t)frame->x_offset;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = stride * ((size_t)frame->height - 1) + 3 * (size_t)frame->width;
    if (code == VP8_STATUS_OK)
        code = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    WebPFreeDecBuffer(&config.output);
    if (code == VP8_STATUS_OK) return 0;
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return error_set(err, ERR_NOMEM, "out of memory while decoding a WebP");
    if (code == VP8_STATUS_NOT_ENOUGH_DATA || code == VP8_STATUS_SUSPENDED)
        return picture_refuse(p, "truncated", err, "the WebP ends before its picture does");
    return picture_refuse(p, "broken-webp", err, "broken WebP: libwebp says status %d", (int)code);
}

/* Pillow asks for EXIF whenever the container says that it has some. */
static int read_exif(const WebPDemuxer *demux, struct picture *p, struct error *err)
{
    WebPChunkIterator chunk;
    p->has_icc = WebPDemuxGetChunk(demux, "ICCP", 1, &chunk);
    WebPDemuxReleaseChunkIterator(&chunk);
    struct exif e = {.orientation = 1};
    enum exif_verdict verdict = EXIF_GOOD;
    if (WebPDemuxGetChunk(demux, "EXIF", 1, &chunk))
        verdict = exif_read(chunk.chunk.bytes, chunk.chunk.size, &e);
    WebPDemuxReleaseChunkIterator(&chunk);
    p->orientation = e.orientation;
    return verdict == EXIF_GOOD ? 0
                                : picture_refuse(p, "broken-webp", err,
                                                 "broken WebP: its EXIF block cannot be read");
}

int webp_decode(const uint8_t *bytes, size_t n, const struct picture_limits *limits,
                struct picture *p, struct error *err)
{
    uint64_t n_riff = n < 12 ? UINT64_MAX
                             : 8 + (bytes[4] | (uint64_t)bytes[5] << 8 | (uint64_t)bytes[6] << 16 |
                                    (uint64_t)bytes[7] << 24);
    if (n < n_riff)
        return picture_refuse(p, "truncated", err,
                              "the WebP ends after %zu bytes, before its picture does", n);
    if (n < 16 || memcmp(bytes + 12, "VP8", 3) || !strchr(" LX", bytes[15]) || !bytes[15])
        return picture_refuse(p, "broken-webp", err, "broken WebP: its first chunk is no picture");
    WebPData data = {bytes, n};
    WebPDemuxer *demux = WebPDemux(&data);
    WebPIterator frame = {0};
    int rc = demux
                 ? read_exif(demux, p, err)
                 : picture_refuse(p, "broken-webp", err, "broken WebP: its chunks cannot be read");
    if (rc == 0) rc = decode(demux, &frame, limits, p, err);
    WebPDemuxReleaseIterator(&frame);
    WebPDemuxDelete(demux);
    return rc;
}

// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CBrotli
import CZlib
import CZstd
package import Core

/// How much work is put into a body.
package enum CompressionLevel: String, CaseIterable, Sendable {
    case fast, balanced, small
}

/// Compresses one body as it passes. Each call gives all that it was given back to the receiver at once: nothing is held back for a body that
/// comes slowly.
///
/// Memory while a body is under way: gzip 256 KiB, zstd about 1 MiB, brotli about 1 to 2 MiB (their windows are held at 256 KiB).
package final class Compressor {
    private enum Engine {
        case zlib(ZlibEncoder)
        case brotli(BrotliEncoder)
        case zstd(ZstdEncoder)
    }

    private let engine: Engine

    /// `nil`: there is no memory for it.
    package init?(_ coding: ContentCoding, level: CompressionLevel) {
        switch coding {
        case .gzip, .deflate:
            guard let made = ZlibEncoder(isGzip: coding == .gzip, level) else { return nil }
            engine = .zlib(made)
        case .brotli:
            guard let made = BrotliEncoder(level) else { return nil }
            engine = .brotli(made)
        case .zstd:
            guard let made = ZstdEncoder(level) else { return nil }
            engine = .zstd(made)
        }
    }

    /// Appends what `bytes` become, complete so far as that the receiver can read all of them.
    package func write(_ bytes: Span<UInt8>, into out: inout ByteBuffer) { run(bytes, isLast: false, into: &out) }

    /// Appends the end.
    package func finish(into out: inout ByteBuffer) { run(Span(), isLast: true, into: &out) }

    private func run(_ bytes: Span<UInt8>, isLast: Bool, into out: inout ByteBuffer) {
        switch engine {
        case .zlib(let encoder): encoder.run(bytes, isLast: isLast, into: &out)
        case .brotli(let encoder): encoder.run(bytes, isLast: isLast, into: &out)
        case .zstd(let encoder): encoder.run(bytes, isLast: isLast, into: &out)
        }
    }
}

/// Room that an encoder is lent at a time.
private let room = 16_384

@safe private final class ZlibEncoder {
    // At a fixed address, since zlib keeps a pointer back; freed in `deinit` alone.
    private let stream: UnsafeMutablePointer<z_stream>

    init?(isGzip: Bool, _ level: CompressionLevel) {
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
        let number: Int32 =
            switch level {
            case .fast: 1
            case .balanced: 6
            case .small: 9
            }
        // 16 above the window's bits asks for the gzip format.
        guard unsafe holdfast_deflateInit2(stream, number, isGzip ? 31 : 15, 8) == Z_OK else {
            unsafe stream.deallocate()
            return nil
        }
    }

    deinit {
        unsafe deflateEnd(stream)
        unsafe stream.deallocate()
    }

    func run(_ bytes: Span<UInt8>, isLast: Bool, into out: inout ByteBuffer) {
        // zlib reads the input during the calls only; it does not write to it, whatever its type says.
        unsafe bytes.withUnsafeBufferPointer { input in
            unsafe stream.pointee.next_in = unsafe UnsafeMutablePointer(mutating: input.baseAddress)
            unsafe stream.pointee.avail_in = UInt32(clamping: input.count)
            var isDone = false
            while !isDone {
                unsafe out.withUnsafeWritable(minimum: room) { output in
                    let lent = min(output.count, Int(UInt32.max))
                    unsafe stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
                    unsafe stream.pointee.avail_out = UInt32(clamping: lent)
                    let status = unsafe deflate(stream, isLast ? Z_FINISH : Z_SYNC_FLUSH)
                    let left = unsafe Int(stream.pointee.avail_out)
                    // Room that is left says that all is out; nothing to do is said by Z_BUF_ERROR.
                    isDone = left > 0 || status == Z_STREAM_END || status == Z_STREAM_ERROR || status == Z_BUF_ERROR
                    return lent - left
                }
            }
        }
    }
}

@safe private final class BrotliEncoder {
    // Freed in `deinit` alone.
    private let state: OpaquePointer

    init?(_ level: CompressionLevel) {
        guard let made = unsafe BrotliEncoderCreateInstance(nil, nil, nil) else { return nil }
        unsafe state = made
        let quality: UInt32 =
            switch level {
            case .fast: 1
            case .balanced: 4
            case .small: 7
            }
        unsafe BrotliEncoderSetParameter(state, BROTLI_PARAM_QUALITY, quality)
        unsafe BrotliEncoderSetParameter(state, BROTLI_PARAM_LGWIN, 18)
    }

    deinit { unsafe BrotliEncoderDestroyInstance(state) }

    func run(_ bytes: Span<UInt8>, isLast: Bool, into out: inout ByteBuffer) {
        unsafe bytes.withUnsafeBufferPointer { input in
            var next = input.baseAddress
            var left = input.count
            let operation = isLast ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH
            var hasMore = false
            repeat {
                unsafe out.withUnsafeWritable(minimum: room) { output in
                    var target = unsafe output.baseAddress?.assumingMemoryBound(to: UInt8.self)
                    var free = output.count
                    guard unsafe BrotliEncoderCompressStream(state, operation, &left, &next, &free, &target, nil) == BROTLI_TRUE
                    else {
                        left = 0
                        return 0
                    }
                    return output.count - free
                }
                hasMore = unsafe BrotliEncoderHasMoreOutput(state) == BROTLI_TRUE
            } while left > 0 || hasMore
        }
    }
}

@safe private final class ZstdEncoder {
    // Freed in `deinit` alone.
    private let context: OpaquePointer

    init?(_ level: CompressionLevel) {
        guard let made = unsafe ZSTD_createCCtx() else { return nil }
        unsafe context = made
        let number: Int32 =
            switch level {
            case .fast: 1
            case .balanced: 3
            case .small: 9
            }
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, number)
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, 18)
        unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
    }

    deinit { unsafe ZSTD_freeCCtx(context) }

    func run(_ bytes: Span<UInt8>, isLast: Bool, into out: inout ByteBuffer) {
        unsafe bytes.withUnsafeBufferPointer { buffer in
            var input = unsafe ZSTD_inBuffer(src: buffer.baseAddress, size: buffer.count, pos: 0)
            var isDone = false
            while !isDone {
                unsafe out.withUnsafeWritable(minimum: room) { place in
                    var output = unsafe ZSTD_outBuffer(dst: place.baseAddress, size: place.count, pos: 0)
                    let left = unsafe ZSTD_compressStream2(context, &output, &input, isLast ? ZSTD_e_end : ZSTD_e_flush)
                    // An error is a very large number; it can only be a mistake of ours or want of memory, and ends the body here.
                    isDone = left == 0 || ZSTD_isError(left) != 0
                    return unsafe output.pos
                }
            }
        }
    }
}

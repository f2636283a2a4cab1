// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CBrotli
import CZlib
import CZstd
import Core

/// Why a body in a content coding is not let through.
package enum DecodedSizeProblem: Error, Equatable, Sendable {
    /// It becomes more than it may.
    case tooLarge
    /// It is not in the coding that it is said to be in, or breaks off.
    case malformed
    /// There is no memory to look into it.
    case memory
}

/// Decodes a body as it passes, only to count what it becomes: nothing is kept but the codings' windows (8 MiB at most each, RFC 9659).
///
/// No more is decoded than is allowed and a piece: a bomb costs what a body of the allowed size costs.
package final class DecodedSize {
    private let limit: UInt64
    /// The last coding that was applied first.
    private var layers: [Layer] = []

    private enum Layer {
        case zlib(ZlibDecoder)
        case brotli(BrotliDecoder)
        case zstd(ZstdDecoder)

        func run(_ bytes: Span<UInt8>, _ take: (Span<UInt8>) throws(DecodedSizeProblem) -> Void) throws(DecodedSizeProblem) {
            switch self {
            case .zlib(let decoder): try decoder.run(bytes, take)
            case .brotli(let decoder): try decoder.run(bytes, take)
            case .zstd(let decoder): try decoder.run(bytes, take)
            }
        }

        var isComplete: Bool {
            switch self {
            case .zlib(let decoder): decoder.isComplete
            case .brotli(let decoder): decoder.isComplete
            case .zstd(let decoder): decoder.isComplete
            }
        }
    }

    /// Decoded so far, by layer: each is held to the limit.
    private var counts: [UInt64]
    private var hasBegun = false

    /// - Parameter codings: as `Content-Encoding` lists them, in the order in which they were applied.
    package init(_ codings: [ContentCoding], limit: UInt64) throws(DecodedSizeProblem) {
        self.limit = limit
        counts = Array(repeating: 0, count: codings.count)
        for coding in codings.reversed() {
            switch coding {
            case .gzip, .deflate: layers.append(.zlib(ZlibDecoder(isGzip: coding == .gzip)))
            case .brotli:
                guard let made = BrotliDecoder() else { throw .memory }
                layers.append(.brotli(made))
            case .zstd:
                guard let made = ZstdDecoder() else { throw .memory }
                layers.append(.zstd(made))
            }
        }
    }

    /// What the body has become so far.
    package var count: UInt64 { counts.last ?? 0 }

    package func add(_ bytes: Span<UInt8>) throws(DecodedSizeProblem) {
        if !bytes.isEmpty { hasBegun = true }
        try add(bytes, at: 0)
    }

    private func add(_ bytes: Span<UInt8>, at layer: Int) throws(DecodedSizeProblem) {
        guard layer < layers.count else { return }
        try layers[layer].run(bytes) { piece throws(DecodedSizeProblem) in
            counts[layer] += UInt64(piece.count)
            if counts[layer] > limit { throw .tooLarge }
            try add(piece, at: layer + 1)
        }
    }

    /// The body is complete. One of no bytes at all is in every coding.
    package func finish() throws(DecodedSizeProblem) {
        if hasBegun && !layers.allSatisfy(\.isComplete) { throw .malformed }
    }
}

/// Decoded bytes at a time.
private let pieceBytes = 32_768

@safe private final class ZlibDecoder {
    // At a fixed address, since zlib keeps a pointer back; freed in `deinit` alone.
    private let stream: UnsafeMutablePointer<z_stream>
    private let isGzip: Bool
    private var isOpen = false
    private(set) var isComplete = false
    private var piece = ByteBuffer()

    init(isGzip: Bool) {
        self.isGzip = isGzip
        unsafe stream = .allocate(capacity: 1)
        unsafe stream.initialize(to: z_stream())
    }

    deinit {
        if isOpen { unsafe inflateEnd(stream) }
        unsafe stream.deallocate()
    }

    /// "deflate" is the zlib format, but some send bare deflate: the first octet tells them apart (RFC 1950 §2.2: the method 8 in its low half, and a
    /// window of at most 7 in the other).
    private func open(_ first: UInt8) throws(DecodedSizeProblem) {
        let isBare = !isGzip && (first & 15 != 8 || first >> 4 > 7)
        guard unsafe holdfast_inflateInit2(stream, isGzip ? 31 : isBare ? -15 : 15) == Z_OK else { throw .memory }
        isOpen = true
    }

    func run(_ bytes: Span<UInt8>, _ take: (Span<UInt8>) throws(DecodedSizeProblem) -> Void) throws(DecodedSizeProblem) {
        var at = 0
        if !isOpen {
            guard !bytes.isEmpty else { return }
            try open(bytes[0])
        }
        while true {
            if isComplete {
                guard at < bytes.count else { return }
                // gzip: another member (RFC 1952 §2.2), which counts as well; what follows the end of a zlib stream is no part of it.
                guard isGzip, unsafe inflateReset(stream) == Z_OK else { throw .malformed }
                isComplete = false
            }
            piece.removeAll()
            var status = Z_OK
            let rest = bytes.extracting(at..<bytes.count)
            var left = rest.count
            unsafe rest.withUnsafeBufferPointer { input in
                unsafe stream.pointee.next_in = unsafe UnsafeMutablePointer(mutating: input.baseAddress)
                unsafe stream.pointee.avail_in = UInt32(clamping: input.count)
                unsafe piece.withUnsafeWritable(minimum: pieceBytes) { output in
                    unsafe stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
                    unsafe stream.pointee.avail_out = UInt32(clamping: output.count)
                    status = unsafe inflate(stream, Z_NO_FLUSH)
                    return unsafe output.count - Int(stream.pointee.avail_out)
                }
                left = unsafe Int(stream.pointee.avail_in)
            }
            at = bytes.count - left
            if !piece.isEmpty { try piece.withReadable { span throws(DecodedSizeProblem) in try take(span) } }
            switch status {
            case Z_STREAM_END: isComplete = true
            case Z_OK: if left == 0 && piece.count < piece.capacity { return }
            case Z_BUF_ERROR: return  // it wants more input
            case Z_MEM_ERROR: throw .memory
            default: throw .malformed
            }
        }
    }
}

@safe private final class BrotliDecoder {
    // Freed in `deinit` alone.
    private let state: OpaquePointer
    private(set) var isComplete = false
    private var piece = ByteBuffer()

    init?() {
        guard let made = unsafe BrotliDecoderCreateInstance(nil, nil, nil) else { return nil }
        unsafe state = made
    }

    deinit { unsafe BrotliDecoderDestroyInstance(state) }

    func run(_ bytes: Span<UInt8>, _ take: (Span<UInt8>) throws(DecodedSizeProblem) -> Void) throws(DecodedSizeProblem) {
        var at = 0
        while true {
            if isComplete {
                if at < bytes.count { throw .malformed }
                return
            }
            piece.removeAll()
            let rest = bytes.extracting(at..<bytes.count)
            var left = rest.count
            var result = BROTLI_DECODER_RESULT_ERROR
            unsafe rest.withUnsafeBufferPointer { input in
                var next = input.baseAddress
                unsafe piece.withUnsafeWritable(minimum: pieceBytes) { output in
                    var target = unsafe output.baseAddress?.assumingMemoryBound(to: UInt8.self)
                    var free = output.count
                    result = unsafe BrotliDecoderDecompressStream(state, &left, &next, &free, &target, nil)
                    return output.count - free
                }
            }
            at = bytes.count - left
            if !piece.isEmpty { try piece.withReadable { span throws(DecodedSizeProblem) in try take(span) } }
            switch result {
            case BROTLI_DECODER_RESULT_SUCCESS: isComplete = true
            // It may want more and still have some to give.
            case BROTLI_DECODER_RESULT_NEEDS_MORE_INPUT: if unsafe BrotliDecoderHasMoreOutput(state) == BROTLI_FALSE { return }
            case BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT: break
            default: throw .malformed
            }
        }
    }
}

@safe private final class ZstdDecoder {
    // Freed in `deinit` alone.
    private let context: OpaquePointer
    private(set) var isComplete = false
    private var piece = ByteBuffer()

    init?() {
        guard let made = unsafe ZSTD_createDCtx() else { return nil }
        unsafe context = made
        // 8 MiB: what every decoder of the coding has to take, and none has to take more (RFC 9659 §3).
        unsafe ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 23)
    }

    deinit { unsafe ZSTD_freeDCtx(context) }

    func run(_ bytes: Span<UInt8>, _ take: (Span<UInt8>) throws(DecodedSizeProblem) -> Void) throws(DecodedSizeProblem) {
        var at = 0
        while true {
            piece.removeAll()
            let rest = bytes.extracting(at..<bytes.count)
            var used = 0
            var result = 0
            var isFull = false
            unsafe rest.withUnsafeBufferPointer { buffer in
                var input = unsafe ZSTD_inBuffer(src: buffer.baseAddress, size: buffer.count, pos: 0)
                unsafe piece.withUnsafeWritable(minimum: pieceBytes) { place in
                    var output = unsafe ZSTD_outBuffer(dst: place.baseAddress, size: place.count, pos: 0)
                    result = unsafe ZSTD_decompressStream(context, &output, &input)
                    isFull = unsafe output.pos == output.size
                    return unsafe output.pos
                }
                used = unsafe input.pos
            }
            at += used
            if ZSTD_isError(result) != 0 { throw .malformed }
            // Zero: a frame is complete; another may follow, which counts as well.
            if used > 0 || !piece.isEmpty || result == 0 { isComplete = result == 0 }
            if !piece.isEmpty { try piece.withReadable { span throws(DecodedSizeProblem) in try take(span) } }
            if at == bytes.count && !isFull { return }
        }
    }
}

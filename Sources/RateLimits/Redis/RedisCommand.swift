// Holdfast
// SPDX-License-Identifier: Apache-2.0

import CHiredis
package import Core

/// Writes commands as Redis reads them: each argument with its length, so that no byte in it can end it.
package enum RedisCommand {
    package static func append(_ arguments: [[UInt8]], to out: inout ByteBuffer) {
        // One run of all bytes, into which hiredis gets a pointer an argument; it copies them before it returns.
        let bytes = arguments.flatMap(\.self)
        let lengths = arguments.map(\.count)
        var target: UnsafeMutablePointer<CChar>?
        let length = unsafe bytes.withUnsafeBytes { buffer -> Int32 in
            var starts: [UnsafePointer<CChar>?] = unsafe []
            var offset = 0
            for length in lengths {
                let start = unsafe buffer.baseAddress.map { unsafe $0 + offset } ?? nowhere
                unsafe starts.append(start.assumingMemoryBound(to: CChar.self))
                offset += length
            }
            return unsafe redisFormatCommandArgv(&target, Int32(clamping: lengths.count), &starts, lengths)
        }
        guard let made = unsafe target, length > 0 else { preconditionFailure("out of memory for a command") }
        unsafe out.append(UnsafeRawBufferPointer(start: made, count: Int(length)))
        unsafe redisFreeCommand(made)
    }

    /// For arguments without a byte; never read.
    private static var nowhere: UnsafeRawPointer { unsafe UnsafeRawPointer(bitPattern: 16)! }

    package static func append(_ arguments: [String], to out: inout ByteBuffer) {
        append(arguments.map { Array($0.utf8) }, to: &out)
    }
}

/// Where in a cluster a key is: CRC16 (XMODEM) of what stands between its first braces, modulo 16,384 (Redis Cluster specification, "Key
/// distribution model").
package enum RedisSlot {
    package static let count = 16_384

    package static func slot(of key: [UInt8]) -> Int {
        var part = key[...]
        if let open = key.firstIndex(of: UInt8(ascii: "{")), let close = key[(open + 1)...].firstIndex(of: UInt8(ascii: "}")),
            close > open + 1
        {
            part = key[(open + 1)..<close]
        }
        var crc: UInt16 = 0
        for byte in part {
            crc ^= UInt16(byte) << 8
            for _ in 0..<8 { crc = crc & 0x8000 != 0 ? crc << 1 ^ 0x1021 : crc << 1 }
        }
        return Int(crc) % count
    }
}

/// Why a server did not do what it was asked.
package enum RedisRefusal: Equatable, Sendable {
    /// The script is not there yet: it is sent whole.
    case noScript
    /// The slot is another server's now; the address is as the server writes it.
    case moved(slot: Int, to: String)
    /// Only this command is another server's.
    case ask(to: String)
    /// Anything else, by its first word: `OOM`, `NOAUTH`, `LOADING`, `CLUSTERDOWN`, …
    case other(String)

    package init(_ text: [UInt8]) {
        let words = String(decoding: text.prefix(256), as: UTF8.self).split(separator: " ").map(String.init)
        switch words.first {
        case "NOSCRIPT": self = .noScript
        case "MOVED":
            if words.count >= 3, let slot = Int(words[1]), (0..<RedisSlot.count).contains(slot) {
                self = .moved(slot: slot, to: words[2])
            } else {
                self = .other("MOVED")
            }
        case "ASK": self = words.count >= 3 ? .ask(to: words[2]) : .other("ASK")
        case let word: self = .other(word ?? "ERR")
        }
    }
}

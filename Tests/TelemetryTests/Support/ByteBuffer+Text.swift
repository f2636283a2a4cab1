// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core

/// The bytes that `write` appends.
func bytes(_ write: (inout ByteBuffer) -> Void) -> [UInt8] {
    var buffer = ByteBuffer()
    write(&buffer)
    return buffer.withReadable { span in (0..<span.count).map { span[$0] } }
}

func text(_ write: (inout ByteBuffer) -> Void) -> String { String(decoding: bytes(write), as: UTF8.self) }

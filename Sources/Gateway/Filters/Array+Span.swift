// Holdfast
// SPDX-License-Identifier: Apache-2.0

extension [UInt8] {
    /// A copy of the bytes.
    init(copying span: Span<UInt8>) { self = unsafe span.withUnsafeBufferPointer { unsafe Array($0) } }
}

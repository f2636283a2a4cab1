// Holdfast
// SPDX-License-Identifier: Apache-2.0

// The fuzzer of the HTTP/1 codec (libFuzzer; promises P1, P2, P3).
//
// The first byte of an input says what it is: bit 0 a client's or an upstream's bytes, bits 1 and 2 the request's method that the
// upstream answers, bits 3 and 4 how it is cut, bit 5 whether limits are small, bit 6 whether the upstream's end is clean.
// The second byte seeds the cuts. What follows is the connection. Checked for each input:
//
// - nothing traps, and nothing is read outside the input;
// - the connection is understood in the same way however its bytes arrive;
// - what is accepted, written again and read again, means the same;
// - memory stays within a multiple of the input.

// With HOLDFAST_EVERY_CUT set each input that is not long, and four that differ from it in one byte, are cut at every offset and into
// single bytes instead: promise P2 over the whole corpus. `-runs=0` with the corpus then says how many messages that were.

import Glibc

private let cutsEverywhere = unsafe getenv("HOLDFAST_EVERY_CUT") != nil

/// Only the thread of libFuzzer counts.
nonisolated(unsafe) private var messagesCut = 0

/// Longer ones would take the square of their length.
private let longestCutEverywhere = 300

/// Runs one input; called by libFuzzer for ever.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    guard size >= 2, size <= 1 << 20 else { return 0 }
    // libFuzzer lends `size` bytes for the length of this call.
    let input = unsafe Span(_unsafeStart: data, count: size)
    let kind = input[0]
    let connection = input.extracting(2..<size)
    var limits = HeadLimits()
    if kind & 32 != 0 {
        limits.headerBytes = 300
        limits.headerCount = 6
        limits.targetBytes = 40
        limits.chunkExtensionBytes = 12
        limits.interimResponses = 2
    }
    if cutsEverywhere {
        cutEverywhere(connection, kind, limits)
        return 0
    }
    let cuts = Cuts(kind: kind >> 3 & 3, seed: input[1])
    if kind & 1 == 0 {
        fuzzRequests(connection, limits, cuts)
    } else {
        let methods: [Method] = [.get, .head, .post, .other]
        fuzzResponses(connection, limits, cuts, methods[Int(kind >> 1 & 3)], truncated: kind & 64 != 0)
    }
    return 0
}

private func cutEverywhere(_ connection: Span<UInt8>, _ kind: UInt8, _ limits: HeadLimits) {
    guard connection.count > 0, connection.count <= longestCutEverywhere else { return }
    if unsafe messagesCut == 0 {
        atexit { unsafe print("messages cut at every offset: \(messagesCut)") }
    }
    for variant in 0..<5 {
        var message: [UInt8] = []
        for i in 0..<connection.count { message.append(connection[i]) }
        // Four places along the message: a byte that matters to the grammar, a byte less, a byte twice, a bit.
        let place = (connection.count * (2 * variant + 1) / 11) % connection.count
        switch variant {
        case 1: message[place] = [13, 10, 32, 58, 48, 59, 0, 9][connection.count & 7]
        case 2: message.remove(at: place)
        case 3: message.insert(message[place], at: place)
        case 4: message[place] ^= 1 << UInt8(connection.count & 7)
        default: break
        }
        unsafe messagesCut += 1
        let span = message.span
        if kind & 1 == 0 {
            var whole = RequestReading(limits: limits)
            whole.read(span, Cuts.none)
            for place in 0..<message.count {
                var cut = RequestReading(limits: limits)
                cut.read(span, place == 0 ? Cuts.bytes : Cuts.at(place))
                demand(whole.log.isEqual(to: cut.log), "requests depend on where they are cut", span)
            }
        } else {
            let methods: [Method] = [.get, .head, .post, .other]
            let method = methods[Int(kind >> 1 & 3)]
            var whole = ResponseReading(limits: limits, method: method)
            whole.read(span, Cuts.none, truncated: kind & 64 != 0)
            for place in 0..<message.count {
                var cut = ResponseReading(limits: limits, method: method)
                cut.read(span, place == 0 ? Cuts.bytes : Cuts.at(place), truncated: kind & 64 != 0)
                demand(whole.log.isEqual(to: cut.log), "responses depend on where they are cut", span)
            }
        }
    }
}

private func fuzzRequests(_ input: Span<UInt8>, _ limits: HeadLimits, _ cuts: Cuts) {
    var whole = RequestReading(limits: limits)
    whole.read(input, Cuts.none)
    var cut = RequestReading(limits: limits)
    cut.read(input, cuts)
    demand(whole.log.isEqual(to: cut.log), "requests depend on how their bytes arrive", input)
    demand(whole.log.memory <= 32 * input.count + 131_072, "memory out of proportion", input)

    // What was written must be understood as it was meant, but without limits on its size: names of fields of our own are added.
    var again = RequestReading(limits: HeadLimits(), isSecond: true)
    again.read(whole.written.bytes.span, Cuts.none)
    demand(again.meaning.isEqual(to: whole.meaning), "a request is not forwarded as it was understood", input)
}

private func fuzzResponses(_ input: Span<UInt8>, _ limits: HeadLimits, _ cuts: Cuts, _ method: Method, truncated: Bool) {
    var whole = ResponseReading(limits: limits, method: method)
    whole.read(input, Cuts.none, truncated: truncated)
    var cut = ResponseReading(limits: limits, method: method)
    cut.read(input, cuts, truncated: truncated)
    demand(whole.log.isEqual(to: cut.log), "responses depend on how their bytes arrive", input)
    demand(whole.log.memory <= 32 * input.count + 131_072, "memory out of proportion", input)

    var again = ResponseReading(limits: HeadLimits(), method: method)
    again.read(whole.written.bytes.span, Cuts.none, truncated: false)
    demand(again.meaning.isEqual(to: whole.meaning), "a response is not forwarded as it was understood", input)
}

private func demand(_ condition: Bool, _ message: StaticString, _ input: Span<UInt8>) {
    if !condition { fatalError("\(message): \(String(copying: input))") }
}

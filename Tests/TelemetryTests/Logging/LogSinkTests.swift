// Holdfast
// SPDX-License-Identifier: Apache-2.0

import Core
import Foundation
import Testing

@testable import Telemetry

@Suite struct LogSinkTests {
    private func settings(laneBytes: Int = 1 << 20) -> LogSink.Settings {
        var settings = LogSink.Settings()
        settings.laneBytes = laneBytes
        settings.gatherTime = .milliseconds(1)
        return settings
    }

    // An expectation cannot look into a call that takes a `Span`.
    private func put(_ line: [UInt8], to sink: LogSink) -> Bool { sink.append(line.span) }
    private func put(_ line: [UInt8], to lane: LogLane) -> Bool { lane.append(line.span) }

    /// A pipe, filled to the brim with `-` and a line feed at the end, if asked.
    private func pipe(isFull: Bool) -> (reader: Int32, writer: Int32, filler: Int) {
        var ends: [Int32] = [0, 0]
        unsafe Glibc.pipe(&ends)
        var filler = 0
        if isFull {
            let flags = fcntl(ends[1], F_GETFL)
            _ = fcntl(ends[1], F_SETFL, flags | O_NONBLOCK)
            let page = [UInt8](repeating: UInt8(ascii: "-"), count: 4_095) + [UInt8(ascii: "\n")]
            while unsafe write(ends[1], page, page.count) == page.count { filler += page.count }
            _ = fcntl(ends[1], F_SETFL, flags)
        }
        return (ends[0], ends[1], filler)
    }

    private func readAll(_ descriptor: Int32, until enough: (Int) -> Bool) -> [UInt8] {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while !enough(all.count) {
            let n = unsafe read(descriptor, &chunk, chunk.count)
            if n <= 0 { break }
            all += chunk[0..<n]
        }
        return all
    }

    private func lines(_ bytes: [UInt8]) -> [String] {
        String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    private func line(_ n: Int, width: Int = 100) -> [UInt8] {
        let number = "\(n)"
        return Array((number + String(repeating: ".", count: width - number.count - 1) + "\n").utf8)
    }

    private func temporaryPath(_ name: String) -> String {
        FileManager.default.temporaryDirectory.appendingPathComponent("holdfast-\(name)-\(UUID().uuidString)").path
    }

    private func contents(_ path: String) -> [String] {
        lines([UInt8](FileManager.default.contents(atPath: path) ?? Data()))
    }

    /// Case E27: the reactor's side returns at once, drops are counted, and writing goes on when the reader does.
    @Test func aBlockedPipeDropsAndResumes() throws {
        let (reader, writer, filler) = pipe(isFull: true)
        defer {
            close(reader)
            close(writer)
        }
        let sink = try LogSink(.descriptor(writer), settings: settings(laneBytes: 4_096))
        let lane = sink.lane(shard: 0)
        var accepted: [Int] = []
        for i in 0..<1_000 where put(line(i), to: lane) { accepted.append(i) }
        // Nothing can have left the ring: 40 lines of 100 bytes fit 4,096.
        #expect(accepted == Array(0..<40))
        #expect(sink.droppedLines == 960)
        #expect(!sink.flush(within: .milliseconds(1)))

        let before = readAll(reader) { $0 >= filler + 4_000 }
        #expect(sink.flush(within: .seconds(10)))
        #expect(lines(Array(before[filler...])).map { Int($0.prefix { $0 != "." }) } == accepted)
        #expect(put(line(7_777), to: lane))
        #expect(sink.flush(within: .seconds(10)))
        let after = readAll(reader) { $0 >= 100 }
        #expect(after == line(7_777))
        #expect(sink.droppedLines == 960)
        #expect(sink.close(within: .seconds(10)))
    }

    @Test func aBrokenPipeIsCountedAndStopsNothing() throws {
        let (reader, writer, _) = pipe(isFull: false)
        defer { close(writer) }
        let sink = try LogSink(.descriptor(writer), settings: settings())
        close(reader)
        let lane = sink.lane(shard: 3)
        for i in 0..<50 {
            #expect(put(line(i), to: lane))
        }
        #expect(put(line(50), to: sink))
        #expect(sink.flush(within: .seconds(10)))
        #expect(sink.droppedLines == 51)
        #expect(sink.close(within: .seconds(10)))
    }

    @Test func closingABlockedPipeEndsInTime() throws {
        let (reader, writer, _) = pipe(isFull: true)
        defer {
            close(reader)
            close(writer)
        }
        let sink = try LogSink(.descriptor(writer), settings: settings())
        for i in 0..<10 { _ = put(line(i), to: sink.lane(shard: 0)) }
        #expect(!sink.close(within: .milliseconds(5)))
        #expect(sink.droppedLines == 10)
        #expect(!sink.close(within: .zero) || sink.droppedLines == 10)
    }

    @Test func aFullDiskIsCounted() throws {
        let sink = try LogSink(.file("/dev/full"), settings: settings())
        for i in 0..<10 { _ = put(line(i), to: sink) }
        #expect(sink.flush(within: .seconds(10)))
        #expect(sink.droppedLines == 10)
        #expect(sink.close(within: .seconds(10)))
    }

    @Test func reopenFollowsARotation() throws {
        let path = temporaryPath("rotate")
        let rotated = path + ".1"
        defer {
            unsafe unlink(path)
            unsafe unlink(rotated)
        }
        let sink = try LogSink(.file(path), settings: settings())
        #expect(put(line(1), to: sink))
        #expect(sink.flush(within: .seconds(10)))
        unsafe rename(path, rotated)
        #expect(put(line(2), to: sink))
        #expect(sink.flush(within: .seconds(10)))
        try sink.reopen()
        #expect(put(line(3), to: sink))
        #expect(sink.close(within: .seconds(10)))
        #expect(contents(rotated).map { $0.prefix(1) } == ["1", "2"])
        #expect(contents(path).map { $0.prefix(1) } == ["3"])
        var status = stat()
        unsafe stat(path, &status)
        #expect(status.st_mode & 0o137 == 0, "no more than 0640")
        #expect(sink.droppedLines == 0)
    }

    @Test func aFailedReopenKeepsTheOldFile() throws {
        let directory = temporaryPath("gone")
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
        let path = directory + "/log"
        let kept = temporaryPath("kept")
        defer { unsafe unlink(kept) }
        let sink = try LogSink(.file(path), settings: settings())
        unsafe rename(path, kept)
        unsafe rmdir(directory)
        #expect(throws: LogSink.OpenError.self) { try sink.reopen() }
        #expect(put(line(5), to: sink))
        #expect(sink.close(within: .seconds(10)))
        #expect(contents(kept).count == 1)
        do {
            _ = try LogSink(.file(path))
            Issue.record("opened a file in a directory that is not there")
        } catch {
            #expect(error.description == "cannot open log file \(path): No such file or directory")
        }
    }

    /// A reader goes away in the middle of a line; the next reader sees where the broken line ends.
    @Test func aBrokenLineDamagesNoOther() throws {
        let path = temporaryPath("fifo")
        #expect(unsafe mkfifo(path, 0o600) == 0)
        defer { unsafe unlink(path) }
        let first = unsafe open(path, O_RDONLY | O_NONBLOCK)
        let sink = try LogSink(.file(path), settings: settings())
        // 64 KiB fit the pipe, which is no multiple of 100: it fills within a line.
        for i in 0..<1_000 {
            #expect(put(line(i), to: sink))
        }
        #expect(!sink.flush(within: .milliseconds(100)))
        // What the pipe holds stays there for the next reader.
        close(first)
        #expect(sink.flush(within: .seconds(10)))
        let lost = Int(sink.droppedLines)
        #expect(lost > 0)
        let second = unsafe open(path, O_RDONLY | O_NONBLOCK)
        defer { close(second) }
        #expect(put(line(5_555), to: sink))
        // The pipe is still full: time for the writer to meet that. It waits, and the line is not lost.
        _ = sink.flush(within: .milliseconds(50))
        var told = readAll(second) { _ in false }
        #expect(sink.close(within: .seconds(10)))
        told += readAll(second) { _ in false }
        let read = lines(told)
        #expect(read.last == lines(line(5_555)).first)
        // Of the thousand, those not lost are whole; one may be broken, and it was counted as lost.
        let whole = read.filter { $0.utf8.count == 99 }
        #expect(whole.count == 1_001 - lost)
        #expect(read.count - whole.count <= 1)
    }

    /// A file put in the place of a blocked pipe gets whole lines only.
    @Test func reopenFreesABlockedWriter() throws {
        let path = temporaryPath("switch")
        #expect(unsafe mkfifo(path, 0o600) == 0)
        let old = path + ".old"
        defer {
            unsafe unlink(path)
            unsafe unlink(old)
        }
        let reader = unsafe open(path, O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        let sink = try LogSink(.file(path), settings: settings())
        for i in 0..<1_000 {
            #expect(put(line(i), to: sink))
        }
        #expect(!sink.flush(within: .milliseconds(50)))
        unsafe rename(path, old)
        try sink.reopen()
        #expect(put(line(5_555), to: sink))
        #expect(sink.close(within: .seconds(10)))
        let inFile = contents(path)
        #expect(inFile.allSatisfy { $0.utf8.count == 99 })
        #expect(inFile.last == lines(line(5_555)).first)
        let inPipe = lines(readAll(reader) { _ in false })
        let whole = inPipe.filter { $0.utf8.count == 99 }
        #expect(whole.count + inFile.count + Int(sink.droppedLines) == 1_001)
        #expect(inPipe.count - whole.count <= 1 && sink.droppedLines <= 1)
    }

    /// Four reactors and a thread without a lane: every line arrives once, whole, in the order of its writer.
    @Test func linesOfManyThreadsArriveWholeAndInOrder() throws {
        let path = temporaryPath("many")
        defer { unsafe unlink(path) }
        let sink = try LogSink(.file(path), settings: settings(laneBytes: 8_192))
        onThreads(5) { thread in
            var random = SystemRandomNumberGenerator()
            let lane = sink.lane(shard: thread)
            for i in 0..<4_000 {
                let line = Array("\(thread) \(i) \(String(repeating: "x", count: Int.random(in: 0..<90, using: &random)))$\n".utf8)
                if thread < 4 { _ = lane.append(line.span) } else { _ = sink.append(line.span) }
            }
        }
        #expect(sink.close(within: .seconds(10)))
        let all = contents(path)
        #expect(all.count + Int(sink.droppedLines) == 20_000)
        var last = [Int](repeating: -1, count: 5)
        for line in all {
            let parts = line.split(separator: " ", omittingEmptySubsequences: false)
            guard parts.count == 3, let thread = Int(parts[0]), let i = Int(parts[1]), parts[2].hasSuffix("$") else {
                Issue.record("broken line: \(line)")
                return
            }
            #expect(i > last[thread])
            last[thread] = i
        }
    }

    @Test func memoryKeepsLinesInOrderAcrossTheEdgeOfTheRing() throws {
        var random = Seeded()
        let sink = try LogSink(.memory, settings: settings(laneBytes: 4_096))
        let lane = sink.lane(shard: 0)
        var expected: [UInt8] = []
        var told: [UInt8] = []
        for i in 0..<2_000 {
            let line = line(i, width: Int.random(in: 6..<1_500, using: &random))
            if lane.append(line.span) { expected += line }
            if Int.random(in: 0..<3, using: &random) == 0 { told += bytes { sink.collect(into: &$0) } }
        }
        told += bytes { sink.collect(into: &$0) }
        #expect(told == expected, "\(Seeded.note)")
        // A line longer than the lane never fits.
        let long = line(0, width: 5_000)
        #expect(!put(long, to: lane))
        #expect(sink.flush(within: .zero) && sink.close(within: .zero))
    }

    @Test func aLaneIsTheSameEachTime() throws {
        let sink = try LogSink(.memory)
        #expect(sink.lane(shard: 1) === sink.lane(shard: 1))
        #expect(sink.lane(shard: 1) !== sink.lane(shard: 2))
    }

    @Test func aSinkThatIsLetGoEndsItsThread() throws {
        let (reader, writer, _) = pipe(isFull: true)
        defer { close(reader) }
        do {
            let sink = try LogSink(.descriptor(writer), settings: settings())
            _ = put(line(1), to: sink)
        }
        // Closing twice, and flushing after closing, answer at once.
        let sink = try LogSink(.file("/dev/null"), settings: settings())
        #expect(sink.close(within: .seconds(10)) && sink.close(within: .seconds(10)) && sink.flush(within: .seconds(10)))
        close(writer)
    }
}

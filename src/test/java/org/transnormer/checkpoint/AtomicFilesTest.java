package org.transnormer.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatExceptionOfType;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardWatchEventKinds;
import java.nio.file.WatchKey;
import java.nio.file.WatchService;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.transnormer.EnvironmentException;
import org.transnormer.InputException;
import org.transnormer.launch.Job;

class AtomicFilesTest {
    /** Above what the kernel hands out: no such process. */
    private static final String DEAD = "99999999";

    @TempDir
    Path folder;
    private Path file;

    @BeforeEach
    void name() {
        file = folder.resolve("f");
    }

    private List<String> names() throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.map(p -> p.getFileName().toString()).sorted().toList();
        }
    }

    private static void fill(Path target, String text) throws IOException {
        Files.writeString(Files.createDirectories(target.resolve("deep")).resolve("content"), text);
    }

    private String content() throws IOException {
        return Files.readString(file.resolve("deep/content"));
    }

    private static void replace(Path target, long bytes, AtomicFiles.Body<Path> body) {
        AtomicFiles.replaceFolder(Job.alone(), target, bytes, body::write);
    }

    @Test
    void fileIsWrittenAndReplaced() throws IOException {
        AtomicFiles.write(file, "one");
        assertThat(file).hasContent("one");
        AtomicFiles.write(file, "zwölf");
        assertThat(file).hasContent("zwölf");
        assertThat(names()).containsExactly("f");
    }

    @Test
    void oldFileStandsUntilTheNewOneIsComplete() throws IOException {
        AtomicFiles.write(file, "one");
        AtomicFiles.write(file, 3, channel -> {
            channel.write(ByteBuffer.wrap(new byte[] {'t', 'w', 'o'}));
            assertThat(file).hasContent("one");
            assertThat(names()).hasSize(2);
        });
        assertThat(file).hasContent("two");
    }

    @Test
    void failureLeavesWhatWasThere() throws IOException {
        AtomicFiles.write(file, "one");
        assertThatExceptionOfType(EnvironmentException.class)
                .isThrownBy(() -> AtomicFiles.write(file, 1234, channel -> {
                    channel.write(ByteBuffer.wrap(new byte[100]));
                    throw new IOException("No space left on device");
                })).withMessageStartingWith(file + ": ").withMessageContaining("No space left on device")
                .withMessageContaining("it needs 1,234 bytes").withMessageContaining("are free");
        assertThatExceptionOfType(IllegalStateException.class).isThrownBy(() -> AtomicFiles.write(file, 1, channel -> {
            throw new IllegalStateException("ours");
        })).withMessage("ours");
        assertThat(file).hasContent("one");
        assertThat(names()).containsExactly("f");
    }

    @Test
    void fullDiskIsSeenBeforeAnythingIsWritten() throws IOException {
        long tooMuch = Long.MAX_VALUE;
        assertThatExceptionOfType(EnvironmentException.class)
                .isThrownBy(() -> AtomicFiles.write(file, tooMuch, channel -> {
                    throw new AssertionError("started");
                })).withMessageContaining("it needs 9,223,372,036,854,775,807 bytes").withMessageContaining("are free");
        assertThatExceptionOfType(EnvironmentException.class)
                .isThrownBy(() -> replace(file, tooMuch, temp -> {
                    throw new AssertionError("started");
                })).withMessageContaining("it needs");
        assertThat(names()).isEmpty();
    }

    @Test
    void missingFolderIsNamed() {
        assertThatExceptionOfType(InputException.class)
                .isThrownBy(() -> AtomicFiles.write(folder.resolve("no/f"), "x")).withMessageContaining("folder");
    }

    @Test
    void oneWriterAtATime() {
        AtomicFiles.write(file, 0, channel -> assertThatExceptionOfType(IllegalStateException.class)
                .isThrownBy(() -> AtomicFiles.write(file, "x")));
    }

    @Test
    void folderIsWrittenAndReplacedAsAWhole() throws IOException {
        replace(file, 0, temp -> fill(temp, "one"));
        Files.writeString(file.resolve("extra"), "x");
        replace(file, 0, temp -> {
            fill(temp, "two");
            assertThat(content()).isEqualTo("one");
        });
        assertThat(content()).isEqualTo("two");
        assertThat(file.resolve("extra")).doesNotExist();
        assertThat(names()).containsExactly("f");
    }

    @Test
    void failureLeavesTheFolderThatWasThere() throws IOException {
        replace(file, 0, temp -> fill(temp, "one"));
        assertThatExceptionOfType(EnvironmentException.class)
                .isThrownBy(() -> replace(file, 0, temp -> {
                    fill(temp, "two");
                    throw new IOException("disk on fire");
                })).withMessageContaining("disk on fire");
        assertThat(content()).isEqualTo("one");
        assertThat(names()).containsExactly("f");
    }

    /** What a process killed between the two renames leaves: the old folder aside, the new one complete but unnamed. */
    @Test
    void folderSteppedAsideIsTheCompleteOne() throws IOException {
        Path aside = folder.resolve("f.old-" + DEAD);
        fill(aside, "one");
        fill(folder.resolve("f.tmp-" + DEAD), "two");
        assertThat(AtomicFiles.complete(file)).isEqualTo(aside);
        assertThatExceptionOfType(EnvironmentException.class)
                .isThrownBy(() -> replace(file, 0, temp -> {
                    throw new IOException("no");
                }));
        assertThat(content()).isEqualTo("one");
        assertThat(names()).containsExactly("f");
    }

    @Test
    void folderThatWasReplacedIsRemoved() throws IOException {
        fill(file, "two");
        fill(folder.resolve("f.old-" + DEAD), "one");
        assertThat(AtomicFiles.complete(file)).isEqualTo(file);
        AtomicFiles.sweep(file);
        assertThat(content()).isEqualTo("two");
        assertThat(names()).containsExactly("f");
    }

    @Test
    void leftoversOfTheDeadGoAndThoseOfTheLivingStay() throws IOException {
        String living = "f.tmp-" + ProcessHandle.current().parent().orElseThrow().pid();
        List<String> others = List.of("f.tmp-notes", "fx.tmp-" + DEAD, "g.tmp-" + DEAD, living);
        for (String name : others) {
            Files.writeString(folder.resolve(name), "x");
        }
        for (String name : List.of("f.tmp-" + DEAD, "f.tmp-" + ProcessHandle.current().pid())) {
            Files.writeString(folder.resolve(name), "half");
        }
        AtomicFiles.write(file, "one");
        assertThat(names()).containsExactlyInAnyOrderElementsOf(
                Stream.concat(others.stream(), Stream.of("f")).toList());
    }

    /** A half-deleted folder never bears the name: it takes another one first. */
    @Test
    void folderIsRenamedBeforeItIsDeleted() throws Exception {
        fill(file, "one");
        try (WatchService watch = folder.getFileSystem().newWatchService()) {
            WatchKey events = folder.register(watch, StandardWatchEventKinds.ENTRY_CREATE);
            AtomicFiles.delete(file);
            assertThat(watch.poll(10, TimeUnit.SECONDS)).isSameAs(events);
            assertThat(events.pollEvents()).extracting(event -> event.context().toString())
                    .containsExactly("f.tmp-" + ProcessHandle.current().pid());
        }
        assertThat(names()).isEmpty();
    }

    @Test
    void linksAreRemovedButNotWhatTheyPointTo() throws IOException {
        Path precious = Files.createDirectory(folder.resolve("precious"));
        Files.writeString(precious.resolve("work"), "x");
        fill(file, "one");
        Files.createSymbolicLink(file.resolve("link"), precious);
        AtomicFiles.delete(file);
        assertThat(names()).containsExactly("precious");
        assertThat(precious.resolve("work")).hasContent("x");
    }
}

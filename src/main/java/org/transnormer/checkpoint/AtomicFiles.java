package org.transnormer.checkpoint;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.transnormer.EnvironmentException;
import org.transnormer.launch.Gathering;

/**
 * Files and folders that are there completely or not at all, whenever the process or the machine stops. What is written
 * goes to {@code name.tmp-<pid>} in the same folder, is forced to the disk, and takes its name by one rename; the folder
 * is forced too. A folder cannot be renamed over another: the old one steps aside as {@code name.old-<pid>} between two
 * renames, and is the complete one while nothing stands under the name. What processes that are gone left behind is
 * removed by the next write of the same name. One process writes a name at a time. SPEC section 6.3.
 */
public final class AtomicFiles {
    private static final String TEMP = ".tmp-";
    private static final String OLD = ".old-";
    private static final Set<Path> IN_USE = ConcurrentHashMap.newKeySet();

    /** Writes the contents. */
    @FunctionalInterface
    public interface Body<T> {
        void write(T target) throws IOException;
    }

    private AtomicFiles() {
    }

    /**
     * Writes a file.
     *
     * @throws EnvironmentException if it cannot be written; what stood under the name before is untouched
     */
    public static void write(Path file, byte[] bytes) {
        write(file, bytes.length, channel -> {
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            while (buffer.hasRemaining()) {
                channel.write(buffer);
            }
        });
    }

    /** Writes a file in UTF-8; otherwise as {@link #write(Path, byte[])}. */
    public static void write(Path file, String text) {
        write(file, text.getBytes(StandardCharsets.UTF_8));
    }

    /**
     * Writes a file piece by piece.
     *
     * @param bytes how many bytes the body will write: checked against the free space before anything is written
     * @throws EnvironmentException as above; a runtime exception of the body passes through. Both leave no temporary file
     */
    public static void write(Path file, long bytes, Body<FileChannel> body) {
        replace(file, bytes, temp -> {
            try (FileChannel channel = FileChannel.open(temp, StandardOpenOption.CREATE_NEW,
                    StandardOpenOption.WRITE)) {
                body.write(channel);
                channel.force(true);
            }
        });
    }

    /** How one process, or several together, fill a new, empty folder. */
    public interface Filling {
        /** By process 0: writes what it writes alone, and makes the files that all write into. */
        void make(Path folder) throws IOException;

        /** Then by every process: writes what it has, and forces it to the disk. */
        default void fill(Path folder) throws IOException {
            // nothing to share
        }

        /** When all have: exchanges what process 0 needs to end it. By every process; throws nothing of its own. */
        default void meet() {
            // nothing to tell
        }

        /** Then by process 0: ends it. */
        default void finish(Path folder) throws IOException {
            // complete already
        }
    }

    /**
     * Writes a folder: a new one is filled, and then replaces whatever stood under the name. All of that is deleted, so a
     * caller that does not own the folder must look into it first. All processes of a job call this, with a folder on a
     * file system that they share; when it returns, the folder is there, and if one fails or ends, it never is.
     *
     * @param bytes how many bytes all will write, for the check of the free space
     * @throws EnvironmentException as above, whichever process failed
     */
    public static void replaceFolder(Gathering ranks, Path folder, long bytes, Filling filling) {
        Path target = target(folder);
        Path[] temp = {null};
        try {
            SharedFolder.first(ranks, "a new folder", () -> {
                checkTarget(folder, target);
                temp[0] = suffixed(target, TEMP);
                named(folder, bytes, () -> {
                    begin(folder, target, bytes);
                    Files.createDirectory(temp[0]);
                    filling.make(temp[0]);
                });
            });
            Path filled = target.resolveSibling(SharedFolder.told(ranks, "its name",
                    () -> temp[0].getFileName().toString()));
            SharedFolder.together(ranks, "its contents", () -> named(folder, bytes, () -> filling.fill(filled)));
            filling.meet();
            SharedFolder.first(ranks, "its end", () -> named(folder, bytes, () -> {
                filling.finish(filled);
                forceTree(filled);
                rename(filled, target);
                forceFolder(target.getParent());
            }));
        } finally {
            if (temp[0] != null) {
                end(folder, target, temp[0], bytes);
            }
        }
    }

    /** Something that is done to a file or folder. */
    @FunctionalInterface
    private interface Task {
        void run() throws IOException;
    }

    /** An error is that of the file or folder that is being written, whatever the system was doing for it. */
    private static void named(Path given, long bytes, Task task) {
        try {
            task.run();
        } catch (IOException e) {
            throw new EnvironmentException(given + ": cannot be written: %s; it needs %,d bytes, %,d are free now"
                    .formatted(InputFiles.reason(e), bytes, target(given).getParent().toFile().getUsableSpace()),
                    "what stood there before is unchanged; check space and permissions", e);
        }
    }

    /**
     * The folder that counts as {@code name}'s complete one: itself, or the previous one if a replacement was cut short
     * between its two renames; null if there is neither. Changes nothing.
     */
    static Path complete(Path name) throws IOException {
        if (Files.exists(name)) {
            return name;
        }
        try (DirectoryStream<Path> all = siblings(name, OLD)) {
            for (Path old : all) {
                return old;
            }
        }
        return null;
    }

    /** The name that a leftover belongs to; the path itself if it is none. */
    static Path owner(Path path) {
        String name = path.getFileName().toString();
        int end = Math.max(name.lastIndexOf(TEMP), name.lastIndexOf(OLD));
        return end < 0 ? path : path.resolveSibling(name.substring(0, end));
    }

    /** Undoes or completes what processes that are gone left half done under a name. */
    static void sweep(Path name) throws IOException {
        try (DirectoryStream<Path> all = siblings(name, OLD)) {
            for (Path old : all) {
                if (!isStale(old, OLD)) {
                    continue;
                }
                if (Files.exists(name, LinkOption.NOFOLLOW_LINKS)) {
                    discard(old, name);
                } else {
                    Files.move(old, name, StandardCopyOption.ATOMIC_MOVE);
                }
            }
        }
        try (DirectoryStream<Path> all = siblings(name, TEMP)) {
            for (Path temp : all) {
                if (isStale(temp, TEMP)) {
                    deleteTree(temp);
                }
            }
        }
    }

    /**
     * Removes a file or folder so that a half-deleted one never stands under its name.
     *
     * @throws EnvironmentException if it cannot be deleted
     */
    public static void delete(Path path) {
        Path absolute = path.toAbsolutePath().normalize();
        try {
            discard(absolute, absolute);
            forceFolder(absolute.getParent());
        } catch (IOException e) {
            throw new EnvironmentException(path + ": cannot be deleted: " + InputFiles.reason(e),
                    "check its permissions", e);
        }
    }

    private static void replace(Path given, long bytes, Body<Path> body) {
        Path target = target(given);
        checkTarget(given, target);
        Path temp = suffixed(target, TEMP);
        try {
            named(given, bytes, () -> {
                begin(given, target, bytes);
                body.write(temp);
                rename(temp, target);
                forceFolder(target.getParent());
            });
        } finally {
            end(given, target, temp, bytes);
        }
    }

    private static Path target(Path given) {
        return given.toAbsolutePath().normalize();
    }

    /** Whether it can be written at all; it then belongs to the caller, until {@link #end}. */
    private static void checkTarget(Path given, Path target) {
        Path parent = target.getParent();
        if (parent == null || !Files.isDirectory(parent)) {
            throw InputFiles.bad(given, "cannot be written: its folder does not exist", "create it first");
        }
        if (!IN_USE.add(target)) {
            throw new IllegalStateException(given + " is being written already");
        }
    }

    private static void begin(Path given, Path target, long bytes) throws IOException {
        sweep(target);
        checkSpace(given, target.getParent(), bytes);
    }

    private static void end(Path given, Path target, Path temp, long bytes) {
        try {
            named(given, bytes, () -> deleteTree(temp));
        } finally {
            IN_USE.remove(target);
        }
    }

    /** A file system that does not know says 0; then the write itself will tell. */
    private static void checkSpace(Path given, Path parent, long bytes) {
        long free = parent.toFile().getUsableSpace();
        if (free > 0 && free < bytes) {
            throw new EnvironmentException(given + ": cannot be written: it needs %,d bytes, %,d are free"
                    .formatted(bytes, free), "free some space or write to another disk");
        }
    }

    private static void rename(Path temp, Path target) throws IOException {
        if (!Files.isDirectory(temp) || !Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
            Files.move(temp, target, StandardCopyOption.ATOMIC_MOVE);
            return;
        }
        Path old = suffixed(target, OLD);
        Files.move(target, old, StandardCopyOption.ATOMIC_MOVE);
        try {
            Files.move(temp, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            Files.move(old, target, StandardCopyOption.ATOMIC_MOVE);
            throw e;
        }
        forceFolder(target.getParent());
        discard(old, target);
    }

    private static void discard(Path path, Path name) throws IOException {
        Path doomed = suffixed(name, TEMP);
        Files.move(path, doomed, StandardCopyOption.ATOMIC_MOVE);
        deleteTree(doomed);
    }

    private static Path suffixed(Path name, String suffix) {
        return name.resolveSibling(name.getFileName() + suffix + ProcessHandle.current().pid());
    }

    private static DirectoryStream<Path> siblings(Path name, String suffix) throws IOException {
        String start = name.getFileName() + suffix;
        return Files.newDirectoryStream(name.toAbsolutePath().getParent(),
                path -> path.getFileName().toString().startsWith(start) && pid(path, suffix) >= 0);
    }

    /** Whether the process that made a leftover is gone: it does not run, or this one (in a container, pids recur). */
    private static boolean isStale(Path leftover, String suffix) {
        long pid = pid(leftover, suffix);
        return pid == ProcessHandle.current().pid() || ProcessHandle.of(pid).isEmpty();
    }

    private static long pid(Path leftover, String suffix) {
        String name = leftover.getFileName().toString();
        try {
            return Long.parseLong(name.substring(name.lastIndexOf(suffix) + suffix.length()));
        } catch (NumberFormatException e) {
            return -1;
        }
    }

    private static void forceTree(Path folder) throws IOException {
        Files.walkFileTree(folder, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                if (attributes.isRegularFile()) {
                    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
                        channel.force(true);
                    }
                }
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path visited, IOException e) throws IOException {
                forceFolder(visited);
                return FileVisitResult.CONTINUE;
            }
        });
    }

    /** Makes renames inside a folder durable. Windows has no such call and needs none. */
    private static void forceFolder(Path folder) throws IOException {
        if (java.io.File.separatorChar == '/') {
            try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
                channel.force(true);
            }
        }
    }

    private static void deleteTree(Path path) throws IOException {
        if (!Files.exists(path, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        Files.walkFileTree(path, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
                Files.delete(file);
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path folder, IOException e) throws IOException {
                Files.delete(folder);
                return FileVisitResult.CONTINUE;
            }
        });
    }
}

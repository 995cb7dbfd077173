package org.transnormer.cuda;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * Compiled kernels on disk, one file each. A file holds a mark, the key, the SHA-256 of the code, and the code; one that
 * is not whole, or has another key, is as good as none. Files appear by one rename, so processes may share a folder.
 * A folder that cannot be written costs time, never a run. SPEC section 8.
 */
public final class KernelCache {
    private static final byte[] MARK = "tnl kernel 1\n\0\0\0".getBytes(StandardCharsets.US_ASCII);
    private static final int DIGEST = 32;
    private static final String SUFFIX = ".cubin";

    private final Path folder;

    /**
     * What the cache holds.
     *
     * @param files compiled kernels
     */
    public record Contents(long files, long bytes) {
    }

    public KernelCache(Path folder) {
        this.folder = folder;
    }

    /** In the folder of {@code -Dtnl.cache}, else of XDG_CACHE_HOME, else {@code ~/.cache/tnl}. */
    public static KernelCache standard() {
        String asked = System.getProperty("tnl.cache");
        String shared = System.getenv("XDG_CACHE_HOME");
        Path root = asked != null ? Path.of(asked)
                : shared != null && !shared.isBlank() ? Path.of(shared, "tnl")
                : Path.of(System.getProperty("user.home"), ".cache", "tnl");
        return new KernelCache(root.resolve("kernels"));
    }

    public Path folder() {
        return folder;
    }

    /** The code of a source, compiled now unless it was compiled before. */
    public byte[] load(KernelSource source, List<String> options, String architecture) {
        byte[] key = key(source, KernelCompiler.options(options, architecture), KernelCompiler.version());
        Path file = file(source, architecture, key);
        Optional<byte[]> known = read(file, key);
        Trace.note("%s for %s: %s".formatted(source.name(), architecture, known.isPresent() ? file
                : "to be compiled"));
        return known.orElseGet(() -> {
            byte[] code = KernelCompiler.compile(source, options, architecture);
            write(file, key, code);
            return code;
        });
    }

    /** Counts the files. */
    public Contents contents() {
        if (!Files.isDirectory(folder)) {
            return new Contents(0, 0);
        }
        try (Stream<Path> files = Files.list(folder)) {
            List<Path> kernels = files.filter(f -> f.toString().endsWith(SUFFIX)).toList();
            long bytes = 0;
            for (Path kernel : kernels) {
                bytes += Files.size(kernel);
            }
            return new Contents(kernels.size(), bytes);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** SHA-256 over all that the code depends on, each part after its length. */
    static byte[] key(KernelSource source, List<String> options, String compilerVersion) {
        var bytes = new ByteArrayOutputStream();
        try (var out = new DataOutputStream(bytes)) {
            part(out, compilerVersion);
            part(out, source.name());
            part(out, source.text());
            out.writeInt(source.headers().size());
            for (var header : source.headers().entrySet()) {
                part(out, header.getKey());
                part(out, header.getValue());
            }
            for (String option : options) {
                part(out, option);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return sha256(bytes.toByteArray());
    }

    private static void part(DataOutputStream out, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    Path file(KernelSource source, String architecture, byte[] key) {
        String stem = source.name().replaceAll(".*/|\\.cu$", "").replaceAll("[^A-Za-z0-9_-]", "_");
        return folder.resolve(stem + "-" + architecture + "-" + HexFormat.of().formatHex(key, 0, 8) + SUFFIX);
    }

    static Optional<byte[]> read(Path file, byte[] key) {
        byte[] all;
        try {
            all = Files.readAllBytes(file);
        } catch (IOException e) {
            return Optional.empty();
        }
        int head = MARK.length + 2 * DIGEST;
        if (all.length < head || !Arrays.equals(all, 0, MARK.length, MARK, 0, MARK.length)
                || !Arrays.equals(all, MARK.length, MARK.length + DIGEST, key, 0, DIGEST)) {
            return Optional.empty();
        }
        byte[] code = Arrays.copyOfRange(all, head, all.length);
        return Arrays.equals(all, head - DIGEST, head, sha256(code), 0, DIGEST) ? Optional.of(code) : Optional.empty();
    }

    private void write(Path file, byte[] key, byte[] code) {
        byte[] all = ByteBuffer.allocate(MARK.length + 2 * DIGEST + code.length).put(MARK).put(key).put(sha256(code))
                .put(code).array();
        Path unfinished = null;
        try {
            Files.createDirectories(folder);
            unfinished = Files.createTempFile(folder, "kernel", ".tmp");
            Files.write(unfinished, all);
            Files.move(unfinished, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            Trace.note("not kept in " + folder + ": " + e);
            deleteQuietly(unfinished);
        }
    }

    private static void deleteQuietly(Path file) {
        try {
            if (file != null) {
                Files.deleteIfExists(file);
            }
        } catch (IOException e) {
            Trace.note(file + " stays: " + e);
        }
    }

    private static byte[] sha256(byte[] bytes) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(bytes);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}

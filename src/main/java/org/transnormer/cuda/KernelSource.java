package org.transnormer.cuda;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The source of kernels with all that it includes, so that compiling it needs no file and no toolkit.
 *
 * @param name as the compiler's messages show it, such as {@code cuda/linear.cu}
 * @param headers by the name in the include line
 */
public record KernelSource(String name, String text, Map<String, String> headers) {
    private static final String FOLDER = "cuda/";
    private static final Pattern INCLUDE = Pattern.compile("(?m)^\\s*#\\s*include\\s+\"([^\"]+)\"");

    public KernelSource {
        // In the order of their names: the cache's key depends on it.
        headers = java.util.Collections.unmodifiableSortedMap(new TreeMap<>(headers));
    }

    /**
     * Reads {@code cuda/<stem>.cu} of the class path, and the files beside it that it includes.
     *
     * @param stem such as {@code linear}
     */
    public static KernelSource resource(String stem) {
        String name = FOLDER + stem + ".cu";
        String text = read(name);
        Map<String, String> headers = new TreeMap<>();
        collect(text, headers);
        return new KernelSource(name, text, headers);
    }

    private static void collect(String text, Map<String, String> headers) {
        Matcher include = INCLUDE.matcher(text);
        while (include.find()) {
            String name = include.group(1);
            if (!headers.containsKey(name)) {
                headers.put(name, read(FOLDER + name));
                collect(headers.get(name), headers);
            }
        }
    }

    private static String read(String name) {
        try (InputStream in = KernelSource.class.getClassLoader().getResourceAsStream(name)) {
            if (in == null) {
                throw new IllegalStateException(name + " is not on the class path");
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}

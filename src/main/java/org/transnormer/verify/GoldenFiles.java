package org.transnormer.verify;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.eclipse.collections.api.list.primitive.ImmutableLongList;
import org.transnormer.InputException;
import org.transnormer.checkpoint.FileDType;
import org.transnormer.checkpoint.Safetensors;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/** The files of one golden case: each tensor under its name, in whichever file it lies. SPEC section 6.5. */
final class GoldenFiles implements AutoCloseable {
    private final String name;
    private final List<Safetensors> files = new ArrayList<>();
    private final Map<String, Safetensors> holders = new LinkedHashMap<>();
    private final Map<String, String> aliases = new HashMap<>();
    private final Map<String, Object> info = new LinkedHashMap<>();
    private Map<String, Object> config;

    private GoldenFiles(String name) {
        this.name = name;
    }

    /**
     * Opens files and puts those of the same case together.
     *
     * @return the cases in the order of their first files
     * @throws InputException if one is no golden file, or two of a case contradict each other
     */
    static List<GoldenFiles> open(List<Path> paths) {
        Map<String, GoldenFiles> cases = new LinkedHashMap<>();
        boolean opened = false;
        try {
            for (Path path : paths) {
                Safetensors file = Safetensors.open(path);
                boolean added = false;
                try {
                    Map<String, Object> info = file.metadataObject("info");
                    if (info == null || !(info.get("case") instanceof String name)) {
                        throw bad(path, "has no metadata \"info\" with a \"case\"", "it is not a golden file");
                    }
                    cases.computeIfAbsent(name, GoldenFiles::new).add(file, info);
                    added = true;
                } finally {
                    if (!added) {
                        file.close();
                    }
                }
            }
            opened = true;
            return List.copyOf(cases.values());
        } finally {
            if (!opened) {
                cases.values().forEach(GoldenFiles::close);
            }
        }
    }

    /** {@code info.case}. */
    String name() {
        return name;
    }

    /** The released configuration keys, or null. */
    Map<String, Object> config() {
        return config;
    }

    /** The merged {@code info}. */
    Map<String, Object> info() {
        return info;
    }

    /** Under {@code name} too is found what the files hold only under {@code stored}, if they do. */
    void alias(String name, String stored) {
        if (!contains(name) && contains(stored)) {
            aliases.put(name, stored);
        }
    }

    /** As the files have them, without aliases. */
    List<String> names() {
        return List.copyOf(holders.keySet());
    }

    boolean contains(String tensor) {
        return holders.containsKey(stored(tensor));
    }

    ImmutableLongList shape(String tensor) {
        return holder(tensor).entry(stored(tensor)).shape();
    }

    /** Whether a tensor is of a floating type. */
    boolean isFloat(String tensor) {
        return floating(holder(tensor).entry(stored(tensor)).dtype());
    }

    /** Reads a tensor, whatever its shape. */
    Tensor read(String tensor, Memory memory, DType dtype) {
        return holder(tensor).read(stored(tensor), memory, MemoryKind.DATA, dtype);
    }

    /** The files themselves. */
    List<Path> paths() {
        return files.stream().map(Safetensors::file).toList();
    }

    /** Says what is wrong with the case. */
    InputException bad(String what, String cure) {
        return new InputException(files.stream().map(f -> f.file().toString()).collect(Collectors.joining(" + ")), what,
                cure);
    }

    @Override
    public void close() {
        files.forEach(Safetensors::close);
    }

    private String stored(String tensor) {
        return aliases.getOrDefault(tensor, tensor);
    }

    private Safetensors holder(String tensor) {
        Safetensors holder = holders.get(stored(tensor));
        if (holder == null) {
            throw bad("has no tensor " + tensor, "give all files of case " + name);
        }
        return holder;
    }

    private void add(Safetensors file, Map<String, Object> more) {
        Map<String, Object> itsConfig = file.metadataObject("config");
        if (config == null) {
            config = itsConfig;
        } else if (itsConfig != null && !itsConfig.equals(config)) {
            throw bad(file.file(), "is of case %s, but its config is another than that of %s".formatted(name,
                    files.getFirst().file()), "give files of one run only");
        }
        for (String key : List.of("B", "N", "P", "tied")) {
            Object known = info.get(key);
            if (known != null && more.get(key) != null && !known.equals(more.get(key))) {
                throw bad(file.file(), "is of case %s, but its info has %s %s where %s has %s".formatted(name, key,
                        more.get(key), files.getFirst().file(), known), "give files of one run only");
            }
        }
        more.forEach(info::putIfAbsent);
        for (String tensor : file.names()) {
            Safetensors other = holders.putIfAbsent(tensor, file);
            if (other != null && !same(other, file, tensor)) {
                throw bad(file.file(), "is of case %s, but its %s is another than that of %s".formatted(name, tensor,
                        other.file()), "give files of one run only");
            }
        }
        files.add(file);
    }

    private static boolean same(Safetensors a, Safetensors b, String tensor) {
        FileDType dtype = a.entry(tensor).dtype();
        if (dtype != b.entry(tensor).dtype() || !a.entry(tensor).shape().equals(b.entry(tensor).shape())) {
            return false;
        }
        try (HostMemory memory = new HostMemory()) {
            DType read = floating(dtype) ? DType.F64 : DType.I32;
            Tensor x = a.read(tensor, memory, MemoryKind.DATA, read);
            Tensor y = b.read(tensor, memory, MemoryKind.DATA, read);
            return x.segment().mismatch(y.segment()) < 0;
        }
    }

    private static boolean floating(FileDType dtype) {
        return switch (dtype) {
            case F64, F32, F16, BF16 -> true;
            default -> false;
        };
    }

    private static InputException bad(Path file, String what, String cure) {
        return new InputException(file.toString(), what, cure);
    }
}

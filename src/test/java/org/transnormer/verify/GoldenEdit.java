package org.transnormer.verify;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import org.transnormer.checkpoint.Safetensors;
import org.transnormer.checkpoint.SafetensorsWriter;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.HostMemory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.Tensor;

/** A golden file taken apart, to be put together again with something left out or wrong. */
public final class GoldenEdit implements AutoCloseable {
    private final HostMemory memory = new HostMemory();
    private final Map<String, Tensor> tensors = new LinkedHashMap<>();
    private final Map<String, String> metadata = new LinkedHashMap<>();

    public GoldenEdit(Path file) {
        try (Safetensors source = Safetensors.open(file)) {
            source.metadata().forEachKeyValue(metadata::put);
            for (String name : source.names()) {
                DType dtype = source.entry(name).dtype().name().startsWith("I") ? DType.I32 : DType.F32;
                tensors.put(name, source.read(name, memory, MemoryKind.DATA, dtype));
            }
        }
    }

    public Tensor tensor(String name) {
        return tensors.get(name);
    }

    /** Keeps only some tensors. */
    public GoldenEdit keep(Predicate<String> wanted) {
        tensors.keySet().removeIf(wanted.negate());
        return this;
    }

    public GoldenEdit drop(String name) {
        return keep(n -> !n.equals(name));
    }

    /** A tensor of zeros, new or in place of one. */
    public GoldenEdit zeros(String name, long... shape) {
        tensors.put(name, memory.allocate(MemoryKind.DATA, name, DType.F32, shape));
        return this;
    }

    /** Sets one element. */
    public GoldenEdit set(String name, long element, double value) {
        tensors.get(name).setFlat(element, value);
        return this;
    }

    /** Puts a tensor under another name, or under that name too. */
    public GoldenEdit rename(String name, String other, boolean both) {
        Tensor tensor = both ? tensors.get(name) : tensors.remove(name);
        tensors.put(other, tensor.named(other));
        return this;
    }

    /** The same values in another type. */
    public GoldenEdit as(String name, DType dtype) {
        Tensor old = tensors.get(name);
        Tensor converted = memory.allocate(MemoryKind.DATA, name, dtype, old.shape());
        for (long i = 0; i < old.size(); i++) {
            converted.setFlat(i, old.getFlat(i));
        }
        tensors.put(name, converted);
        return this;
    }

    /** Changes a string of the metadata; null: it goes. */
    public GoldenEdit metadata(String key, UnaryOperator<String> change) {
        String changed = change.apply(metadata.get(key));
        if (changed == null) {
            metadata.remove(key);
        } else {
            metadata.put(key, changed);
        }
        return this;
    }

    public Path save(Path file) {
        SafetensorsWriter writer = new SafetensorsWriter();
        metadata.forEach(writer::metadata);
        tensors.values().forEach(writer::add);
        writer.write(file);
        return file;
    }

    @Override
    public void close() {
        memory.close();
    }
}

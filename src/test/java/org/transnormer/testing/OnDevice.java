package org.transnormer.testing;

import java.lang.foreign.MemorySegment;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.lang.reflect.RecordComponent;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BiFunction;
import java.util.function.Function;
import org.transnormer.cuda.DevicePtr;
import org.transnormer.cuda.ExactMemory;
import org.transnormer.cuda.Gpu;
import org.transnormer.lightning.Sequences;
import org.transnormer.tensor.DType;
import org.transnormer.tensor.Memory;
import org.transnormer.tensor.MemoryKind;
import org.transnormer.tensor.MemoryPlan;
import org.transnormer.tensor.Storage;
import org.transnormer.tensor.Tensor;
import org.transnormer.tensor.Workspace;

/**
 * Runs a CUDA twin on tensors of the host, so that contracts are the same for all twins: before each call the whole
 * storage of every tensor goes to the device, gaps and poison included, and afterwards it comes back.
 */
public final class OnDevice {
    private static Gpu gpu;

    private OnDevice() {}

    /** The GPU of all tests of this process. */
    public static synchronized Gpu gpu() {
        if (gpu == null) {
            gpu = Gpu.open();
        }
        gpu.context().use();
        return gpu;
    }

    /** A twin that needs no scratch memory. */
    public static <T> T wrap(Class<T> type, Function<Gpu, T> twin) {
        return wrap(type, (device, _) -> twin.apply(device));
    }

    /**
     * A twin behind its interface. It is made at the first call, so that a test class may hold it in a static field on a
     * machine with no GPU.
     *
     * @param twin gets the GPU and scratch memory on it that is filled with NaN
     */
    public static <T> T wrap(Class<T> type, BiFunction<Gpu, Workspace, T> twin) {
        AtomicReference<T> made = new AtomicReference<>();
        return type
                .cast(Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (_, method, arguments) -> {
                    Gpu device = gpu();
                    if (made.get() == null) {
                        made.set(twin.apply(device, new Workspace(new Poisoned(device))));
                    }
                    return call(device, made.get(), method, arguments == null ? new Object[0] : arguments);
                }));
    }

    private static Object call(Gpu device, Object subject, Method method, Object[] arguments) throws Throwable {
        try (ExactMemory memory = new ExactMemory(device.stream())) {
            Map<MemorySegment, Storage.Device> moved = new IdentityHashMap<>();
            Object[] there = new Object[arguments.length];
            for (int i = 0; i < there.length; i++) {
                there[i] = moved(arguments[i], memory, moved);
            }
            Object result = method.invoke(subject, there);
            device.stream().synchronize();
            moved.forEach((host, storage) -> {
                if (!host.isReadOnly()) {
                    storage.transfer().download(storage.address(), host);
                }
            });
            return result;
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    /**
     * Device memory that starts out as NaN; with {@code -Dtnl.test.unwritten} it does not, for tools that tell who reads
     * what nobody wrote.
     */
    private static final class Poisoned implements Memory {
        private final Gpu device;
        private final ExactMemory memory;

        Poisoned(Gpu device) {
            this.device = device;
            memory = new ExactMemory(device.stream());
        }

        @Override
        public Tensor allocate(MemoryKind kind, String name, DType dtype, long... shape) {
            Tensor tensor = memory.allocate(kind, name, dtype, shape);
            if (System.getProperty("tnl.test.unwritten") == null) {
                device.stream().fill(DevicePtr.of(tensor), (byte) 0xff);
            }
            return tensor;
        }

        @Override
        public MemoryPlan plan() {
            return memory.plan();
        }

        @Override
        public void close() {
            memory.close();
        }
    }

    private static Object moved(Object argument, Memory memory, Map<MemorySegment, Storage.Device> known)
            throws ReflectiveOperationException {
        if (argument instanceof Tensor t) {
            return moved(t, memory, known);
        }
        if (argument instanceof Sequences sequences) {
            return moved(sequences, memory);
        }
        if (argument instanceof Record record) {
            RecordComponent[] components = record.getClass().getRecordComponents();
            Class<?>[] types = new Class<?>[components.length];
            Object[] values = new Object[components.length];
            for (int i = 0; i < components.length; i++) {
                types[i] = components[i].getType();
                components[i].getAccessor().setAccessible(true);
                values[i] = moved(components[i].getAccessor().invoke(record), memory, known);
            }
            var constructor = record.getClass().getDeclaredConstructor(types);
            constructor.setAccessible(true);
            return constructor.newInstance(values);
        }
        return argument;
    }

    private static Sequences moved(Sequences sequences, Memory memory) {
        Sequences there = Sequences.allocate(memory, sequences.count(), sequences.tokens());
        for (int i = 0; i < sequences.count(); i++) {
            there.add(sequences.length(i), sequences.start(i), sequences.slot(i));
        }
        there.upload();
        return there;
    }

    /** The same view of a copy of the storage; one copy of a storage, however many tensors view it. */
    static Tensor moved(Tensor t, Memory memory, Map<MemorySegment, Storage.Device> known) {
        Storage.Device storage = known.computeIfAbsent(t.segment(), segment -> {
            Tensor whole = memory.allocate(MemoryKind.WORKSPACE, t.name(), DType.BF16,
                    Math.ceilDiv(segment.byteSize(), DType.BF16.bytes()));
            Storage.Device to = (Storage.Device) whole.storage();
            to.transfer().upload(segment, to.address());
            return new Storage.Device(to.transfer(), to.address(), segment.byteSize());
        });
        return t.in(storage);
    }
}

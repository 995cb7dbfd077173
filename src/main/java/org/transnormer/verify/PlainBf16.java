package org.transnormer.verify;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.transnormer.InputException;
import org.transnormer.checkpoint.Json;

/**
 * How far plain PyTorch in bf16 is off a golden case, tensor by tensor, as {@code NAME.bf16.json} beside
 * {@code NAME.safetensors} says. The file is untrusted: it must be of this very golden file and of its tensors. SPEC
 * sections 1.4 and 6.5.
 */
final class PlainBf16 {
    private static final String GOLDEN = ".safetensors";
    private static final String OWN = ".bf16.json";
    private static final long LARGEST_FILE = 16 << 20;
    private static final String CURE = "make it anew with golden-tests/generate/plain_bf16.py, or delete it";

    /**
     * Of one tensor.
     *
     * @param rms root of the mean square of the run
     * @param worstRms the same of the worst of the runs whose roundings fall otherwise
     * @param largest of any element in any of these runs
     */
    record Errors(double rms, double worstRms, double largest) {
        /** What the RMS of another run may be. */
        double allowedRms() {
            return Math.max(GoldenTolerance.BESIDE * rms, worstRms);
        }
    }

    private final Path file;
    private final String maker;
    private final Map<String, Errors> errors = new LinkedHashMap<>();

    /** @param names the tensors that will be asked for */
    private PlainBf16(Path file, Path golden, List<String> names) {
        this.file = file;
        Map<String, Object> whole = Json.readObject(file, LARGEST_FILE);
        Map<?, ?> made = object(whole, "made");
        String digest = digest(golden);
        if (!digest.equals(made.get("sha256"))) {
            throw bad("is not of %s, whose SHA-256 is %s".formatted(golden, digest));
        }
        if (!(made.get("torch") instanceof String torch) || !torch.matches("[0-9A-Za-z.+-]{1,40}")) {
            throw bad("names no version of PyTorch as \"torch\"");
        }
        maker = "PyTorch " + torch;
        Map<?, ?> tensors = object(whole, "errors");
        for (String name : names) {
            errors.put(name, errors(tensors, name));
        }
        Set<Object> strangers = new HashSet<>(tensors.keySet());
        strangers.removeAll(errors.keySet());
        if (!strangers.isEmpty()) {
            throw bad("has errors of %d tensors that are no outputs of %s".formatted(strangers.size(), golden));
        }
    }

    /**
     * Reads the file that stands beside one of a case's.
     *
     * @param golden the files of the case
     * @param names the tensors that will be asked for
     * @return null if there is none
     * @throws InputException naming what is wrong with it
     */
    static PlainBf16 beside(List<Path> golden, List<String> names) {
        PlainBf16 found = null;
        for (Path path : golden) {
            String name = path.getFileName().toString();
            Path file = path.resolveSibling(name.endsWith(GOLDEN)
                    ? name.substring(0, name.length() - GOLDEN.length()) + OWN
                    : name + OWN);
            if (Files.exists(file)) {
                if (found != null) {
                    throw new InputException(file.toString(), "is of the same case as " + found.file,
                            "keep one of them");
                }
                found = new PlainBf16(file, path, names);
            }
        }
        return found;
    }

    /** What ran, for people. */
    String maker() {
        return maker;
    }

    /** Of a tensor of the case. */
    Errors errors(String tensor) {
        return errors.get(tensor);
    }

    /** How large a run's RMS errors are, as multiples of PyTorch's of which 1.2 is allowed; nothing where it has none. */
    Optional<String> summary(List<Comparison> run) {
        List<Comparison> rounded = run.stream().filter(c -> errors(c.name()).rms > 0)
                .sorted(Comparator.comparingDouble(this::ratio)).toList();
        return rounded.isEmpty() ? Optional.empty() : Optional.of(
                "RMS errors over those of plain %s: median %.2f, largest %.2f (%s), allowed %s".formatted(maker,
                        ratio(rounded.get(rounded.size() / 2)), ratio(rounded.getLast()), rounded.getLast().name(),
                        GoldenTolerance.BESIDE));
    }

    /** The bound on an element is one for all of a tensor. */
    private double ratio(Comparison c) {
        return GoldenTolerance.BESIDE * c.rmsRatio() * c.allowed() / errors(c.name()).allowedRms();
    }

    private Errors errors(Map<?, ?> tensors, String name) {
        Map<?, ?> one = object(tensors, name);
        Errors e = new Errors(number(one, name, "rms"), number(one, name, "worst_rms"), number(one, name, "max"));
        if (e.rms > e.worstRms || e.worstRms > e.largest) {
            throw bad("has for %s RMS errors %s and %s at most, but no error above %s".formatted(name, e.rms,
                    e.worstRms, e.largest));
        }
        return e;
    }

    private double number(Map<?, ?> one, String tensor, String key) {
        if (!(one.get(key) instanceof Number n) || n.doubleValue() < 0) {
            throw bad("has for %s no number of 0 or more as \"%s\"".formatted(tensor, key));
        }
        return n.doubleValue();
    }

    private Map<?, ?> object(Map<?, ?> in, String key) {
        if (!(in.get(key) instanceof Map<?, ?> map)) {
            throw bad("has no object \"%s\"".formatted(key));
        }
        return map;
    }

    private InputException bad(String what) {
        return new InputException(file.toString(), what, CURE);
    }

    static String digest(Path golden) {
        try (DigestOutputStream sha = new DigestOutputStream(OutputStream.nullOutputStream(),
                MessageDigest.getInstance("SHA-256"))) {
            Files.copy(golden, sha);
            return HexFormat.of().formatHex(sha.getMessageDigest().digest());
        } catch (IOException e) {
            throw new InputException(golden.toString(), "cannot be read: " + e.getMessage(), "check the path", e);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}

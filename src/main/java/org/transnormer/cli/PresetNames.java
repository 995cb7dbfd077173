package org.transnormer.cli;

import java.util.Arrays;
import java.util.Iterator;
import org.transnormer.model.Preset;

/** What --preset takes, for the help. */
final class PresetNames implements Iterable<String> {
    @Override
    public Iterator<String> iterator() {
        return Arrays.stream(Preset.values()).map(Preset::label).iterator();
    }
}

package org.transnormer.checkpoint;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.transnormer.InputException;

/** What readers of files share: is it there, and how to say what is wrong with it. */
final class InputFiles {
    private static final int LONGEST_QUOTE = 200;

    private InputFiles() {
    }

    /**
     * Size of a file.
     *
     * @throws InputException if it is not there or no regular file
     */
    static long size(Path file) {
        if (Files.isDirectory(file)) {
            throw bad(file, "is a folder where a file is needed", "check the path");
        }
        if (!Files.exists(file)) {
            throw bad(file, "does not exist", "check the path");
        }
        if (!Files.isRegularFile(file)) {
            throw bad(file, "is not a regular file", "check the path");
        }
        try {
            return Files.size(file);
        } catch (IOException e) {
            throw unreadable(file, e);
        }
    }

    static InputException bad(Path file, String what, String cure) {
        return new InputException(file.toString(), what, cure);
    }

    static InputException unreadable(Path file, IOException e) {
        return new InputException(file.toString(), "cannot be read: " + reason(e), "check the path and its permissions",
                e);
    }

    /** An I/O error in words: many carry only the name of the file as their message. */
    static String reason(IOException e) {
        return switch (e) {
            case AccessDeniedException denied -> "permission denied for " + denied.getFile();
            case NoSuchFileException missing -> missing.getFile() + " does not exist";
            case FileSystemException other when other.getReason() != null -> other.getReason();
            default -> e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
        };
    }

    /** Text from a file as it may be shown: control characters escaped, long text cut. */
    static String quoted(String text) {
        StringBuilder shown = new StringBuilder("\"");
        for (int i = 0; i < text.length() && i < LONGEST_QUOTE; i++) {
            char c = text.charAt(i);
            shown.append(Character.isISOControl(c) ? "\\u%04x".formatted((int) c) : String.valueOf(c));
        }
        return shown.append(text.length() > LONGEST_QUOTE ? "...\"" : "\"").toString();
    }
}

package org.transnormer.cuda;

import org.transnormer.EnvironmentException;

/** A call into one of NVIDIA's libraries that did not succeed: which, with what status, and what to do about it. */
public final class CudaException extends EnvironmentException {
    private static final long serialVersionUID = 1L;

    private final String api;
    private final int code;
    private final String codeName;
    private final String text;
    private final String cure;

    /**
     * @param api the function that was called
     * @param code the status it returned
     * @param codeName the status by its name in the library's headers
     * @param text what the library says about it
     * @param cure what the user can do
     */
    public CudaException(String api, int code, String codeName, String text, String cure) {
        super("%s: %s (%d): %s".formatted(api, codeName, code, text), cure);
        this.api = api;
        this.code = code;
        this.codeName = codeName;
        this.text = text;
        this.cure = cure;
    }

    public String api() {
        return api;
    }

    public int code() {
        return code;
    }

    public String codeName() {
        return codeName;
    }

    public String text() {
        return text;
    }

    public String cure() {
        return cure;
    }
}

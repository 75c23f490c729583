// Mantine's theme, with colours that have enough contrast.
import { createTheme, type CSSVariablesResolver, darken } from "@mantine/core";

/** A dialog's header element is not a banner of the page, and a click outside must not discard what was filled in. */
const dialogs = { closeOnClickOutside: false, closeButtonProps: { "aria-label": "Close" }, attributes: { header: { role: "none" } } };

/** Popovers open inside the page's main landmark, so that all content is in a landmark (WCAG 2.2, 1.3.1). */
const popovers = { portalProps: { target: "#popovers" } };

/** The list scrolls without a scroll area, so that no element separates the field from its options. */
const listbox = { withScrollArea: false, styles: { options: { maxHeight: 240, overflowY: "auto" } } } as const;

/** Props of a choice that can be cleared. Unlike Mantine's default, the keyboard reaches the button. */
export const clearable = (label: string) => ({ clearable: true, clearButtonProps: { size: "md", tabIndex: 0, "aria-hidden": false, "aria-label": `Clear ${label}` } }) as const;

export const theme = createTheme({
  primaryColor: "blue",
  primaryShade: { light: 8, dark: 8 },
  defaultRadius: "md",
  cursorType: "pointer",
  respectReducedMotion: true,
  components: {
    Modal: { defaultProps: dialogs },
    Drawer: { defaultProps: { ...dialogs, closeOnClickOutside: true } },
    Select: { defaultProps: listbox },
    PasswordInput: { defaultProps: { visibilityToggleFocusable: true } },
    Popover: { defaultProps: popovers },
    Tooltip: { defaultProps: popovers },
    // Without this, its text fades even for users who want no motion.
    SegmentedControl: { defaultProps: { transitionDuration: 0 } },
  },
});

/** Replaces Mantine's colours whose contrast is below 4.5:1 (WCAG 2.2, 1.4.3). */
export const highContrast: CSSVariablesResolver = ({ colors }) => ({
  variables: {},
  light: {
    "--mantine-color-dimmed": colors.gray[7],
    "--mantine-color-placeholder": colors.gray[7],
    "--mantine-color-error": colors.red[9],
    ...Object.fromEntries(Object.entries(colors).map(([name, shades]) => [`--mantine-color-${name}-light-color`, darken(shades[9], 0.3)])),
  },
  dark: {
    "--mantine-color-dimmed": colors.dark[1],
    "--mantine-color-placeholder": colors.dark[1],
    "--mantine-color-error": colors.red[4],
  },
});

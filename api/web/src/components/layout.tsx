// What surrounds every page of a project: its navigation and who is signed in.
import { ActionIcon, AppShell, Badge, Burger, Group, Menu, NavLink, Select, Text, Tooltip, useMantineColorScheme } from "@mantine/core";
import { useDisclosure, useMediaQuery } from "@mantine/hooks";
import { IconCertificate, IconChecklist, IconDownload, IconHistory, IconKey, IconLogout, IconMoon, IconPlug, IconShieldLock, IconSun, IconUser, IconUserCog, IconUsers } from "@tabler/icons-react";
import { type ReactNode, Suspense } from "react";
import { Link, Outlet, useLocation, useNavigate } from "react-router";
import { Boundary } from "./error-boundary";
import { Waiting } from "./page-states";
import { usePending } from "./awaited-approvers";
import { useMay, useProject, useProjects } from "../hooks/project";
import { useMe, useSignOut } from "./session";

export function Layout() {
  const [open, menu] = useDisclosure();
  const phone = useMediaQuery("(max-width: 48em)", false, { getInitialValueInEffect: false });
  const { pathname } = useLocation();
  return (
    <AppShell header={{ height: 56 }} navbar={{ width: 240, breakpoint: "sm", collapsed: { mobile: !open } }} padding="md">
      <AppShell.Header>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={open} onClick={menu.toggle} hiddenFrom="sm" size="sm" aria-label="Navigation" aria-expanded={open} aria-controls="navigation" />
            <Text fw={700} visibleFrom="xs">
              Countersign
            </Text>
            <Projects />
          </Group>
          <Group gap="xs" wrap="nowrap">
            <Scheme />
            <Person />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar id="navigation" p="xs" aria-label="Main" inert={phone && !open}>
        <Navigation visited={menu.close} />
      </AppShell.Navbar>
      <AppShell.Main>
        <Boundary page={pathname}>
          <Suspense fallback={<Waiting />}>
            <Outlet />
          </Suspense>
        </Boundary>
        <div id="layers" />
      </AppShell.Main>
    </AppShell>
  );
}

function Projects() {
  const project = useProject();
  const go = useNavigate();
  const all = useProjects().data ?? [project];
  return (
    <Select
      aria-label="Project"
      size="xs"
      w={{ base: 140, sm: 220 }}
      searchable={all.length > 10}
      allowDeselect={false}
      value={project.id}
      data={all.map((p) => ({ value: p.id, label: p.name }))}
      onChange={(id) => id && id !== project.id && void go(`/projects/${id}`)}
    />
  );
}

/** How many approvals wait for somebody, in the navigation. */
function useWaiting(): string {
  const { data } = usePending();
  const count = data?.items?.length ?? 0;
  return data?.next_cursor ? `${count}+` : count ? String(count) : "";
}

function Navigation({ visited }: { visited: () => void }) {
  const { pathname } = useLocation();
  const base = `/projects/${useProject().id}`;
  const me = useMe();
  const [operator, admin, waiting] = [useMay("operator"), useMay("admin"), useWaiting()];
  const link = (to: string, label: string, icon: ReactNode, right?: ReactNode) => {
    const active = pathname === `${base}/${to}` || pathname.startsWith(`${base}/${to}/`);
    return (
      <NavLink
        key={to}
        component={Link}
        to={`${base}/${to}`}
        label={label}
        leftSection={icon}
        rightSection={right}
        active={active}
        aria-current={active ? "page" : undefined}
        onClick={visited}
      />
    );
  };
  const badge = waiting && (
    <Badge size="sm" circle={waiting.length === 1} aria-label={`${waiting} waiting`}>
      {waiting}
    </Badge>
  );
  return (
    <>
      {link("certificates", "Certificates", <IconCertificate size={18} />)}
      {operator && link("requests", "Requests", <IconDownload size={18} />)}
      {operator && link("approvals", "Approvals", <IconChecklist size={18} />, badge)}
      {link("settings/policy", "Certificate policy", <IconShieldLock size={18} />)}
      {admin && link("audit", "Audit", <IconHistory size={18} />)}
      {link("members", "Members", <IconUsers size={18} />)}
      {admin && link("api-keys", "API keys", <IconKey size={18} />)}
      {me.user.system_admin && link("users", "Users", <IconUserCog size={18} />)}
      {me.user.system_admin && link("plugins", "Plugins", <IconPlug size={18} />)}
    </>
  );
}

function Scheme() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const dark = colorScheme === "dark" || (colorScheme === "auto" && window.matchMedia("(prefers-color-scheme: dark)").matches);
  const label = dark ? "Use light colours" : "Use dark colours";
  return (
    <Tooltip label={label}>
      <ActionIcon variant="default" size="lg" aria-label={label} onClick={() => setColorScheme(dark ? "light" : "dark")}>
        {dark ? <IconSun size={18} /> : <IconMoon size={18} />}
      </ActionIcon>
    </Tooltip>
  );
}

function Person() {
  const me = useMe();
  const leave = useSignOut();
  const { id: pid, role } = useProject();
  return (
    <Menu position="bottom-end" withInitialFocusPlaceholder={false}>
      <Menu.Target>
        <ActionIcon variant="default" size="lg" aria-label={`Signed in as ${me.user.username}`}>
          <IconUser size={18} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item component={Link} to={`/projects/${pid}/account`} leftSection={<IconUser size={16} />}>
          Your account
          <Text size="xs">
            {me.user.name || me.user.username} ({role})
          </Text>
        </Menu.Item>
        <Menu.Item leftSection={<IconLogout size={16} />} onClick={() => leave.mutate(false)}>
          Sign out
        </Menu.Item>
        <Menu.Item onClick={() => leave.mutate(true)}>Sign out everywhere</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
